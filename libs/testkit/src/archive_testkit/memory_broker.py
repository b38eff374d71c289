"""The state of a message server in memory: what the bus keeps in Redis, with the same rules as its scripts.

Nothing here awaits, so every method is as atomic as a script.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from archive_bus import Acked, Backlog, Busy, Entry, JournalConflict, Lane, LeaseLost, Runs, Starts, clock
from archive_contracts.streams import Server, Stream, dead_letters
from archive_testkit.memory_log import NOBODY, Fields, Group, Held, Id, Log, id_of, text_of

DEDUP_WINDOW_S = 3600.0

Owned = tuple[str, int, float]
"""Who owns a partition for a group: the process, its fencing token and the end of its lease."""
NEVER_S = float("-inf")

Timer = tuple[float, str, Fields]
"""When an entry becomes visible, its message id and its fields; a heap of them belongs to each stream."""


class Broker:
    """Both servers of an installation. Give the same one to several buses: they are then several processes.

    ``clock`` returns seconds since the epoch; leases, retention and lifetimes follow it, so that a test can leap ahead.
    Only the rules of the bus are simulated: what survives a crash of a server can be proved on a server alone.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._logs: dict[str, Log] = {}
        self._seen: dict[str, tuple[str, float]] = {}
        self._marks: dict[tuple[Server, str], float] = {}
        self.timers: defaultdict[str, list[Timer]] = defaultdict(list)
        self.owned: dict[str, Owned] = {}
        self.members: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._waiters: list[asyncio.Future[None]] = []
        self._away: set[Server] = set()
        self._queued: list[tuple[Server, Callable[[], bool], asyncio.Future[bool]]] = []

    # -- what a test does to it and asks of it -----------------------------------------------------------------------

    @contextmanager
    def outage(self, *servers: Server) -> Generator[None, None, None]:
        """Let servers, by default both, answer nobody inside the block; they lose nothing."""
        gone = set(servers or Server)
        self._away |= gone
        try:
            yield
        finally:
            self._away -= gone
            self._write_queued()
            self.wake()

    def answers(self, server: Server) -> bool:
        """Whether a server is there."""
        return server not in self._away

    def add(self, key: str, fields: Fields) -> str:
        """Add an entry as a foreign publisher would. Returns its id."""
        return self._add(self._logs.setdefault(key, Log()), fields)

    def entries(self, key: str) -> list[Entry]:
        """Return everything a stream holds."""
        log = self.log(key)
        return [Entry(text_of(entry), log.fields[entry]) for entry in log.ids] if log else []

    def dead(self, stream: Stream, group: str, *, partition: str = "0") -> list[Fields]:
        """Return the dead letters of a group, oldest first, with ``cause.*`` and ``raw.*`` fields."""
        return [entry.fields for entry in self.entries(dead_letters(stream.physical(partition), group))]

    def pending(self, stream: Stream, group: str, *, partition: str = "0") -> dict[str, str]:
        """Return the consumer that holds each unsettled entry of a group."""
        found = self.group(stream.physical(partition), group)
        return {text_of(entry): held.consumer for entry, held in found.pending.items()} if found else {}

    def drop(self, key: str) -> None:
        """Delete a stream with its groups."""
        self._logs.pop(key, None)

    # -- publishing --------------------------------------------------------------------------------------------------

    def ensure(self, key: str, groups: Sequence[str]) -> bool:
        """Create a stream and groups that see it from its start. True: something was created."""
        log = self.log(key) or self._logs.setdefault(key, Log())
        missing = [group for group in groups if group not in log.groups]
        log.groups.update({group: Group() for group in missing})
        return bool(missing)

    def publish(self, key: str, message_id: str, fields: Fields, *, depth: int) -> str:
        """Add an entry once for each message id. Raises Busy when a group has ``depth`` entries waiting."""
        if known := self.known(key, message_id):
            return known
        for group in self.backlog(key):
            if (waiting := (group.lag or 0) + group.pending) >= depth:
                raise Busy(f"{waiting} messages of {key} wait for the group {group.group}")
        return self.remember(key, message_id, self.add(key, fields))

    def broadcast(self, key: str, message_id: str, fields: Fields, *, most: int) -> str:
        """Add an entry once for each message id, and keep the newest ``most``."""
        return self.known(key, message_id) or self.remember(key, message_id, self._add_newest(key, fields, most))

    def _add_newest(self, key: str, fields: Fields, most: int) -> str:
        added = self.add(key, fields)
        log = self._logs[key]
        if len(log.ids) > most:
            log.drop_before(log.ids[-most])
        return added

    def append(self, stream: Stream, key: str, message_id: str, fields: Fields, *, expected: int | None) -> str:
        """Append to a journal once for each message id, at the expected length. Raises JournalConflict."""
        if known := self.known(key, message_id):
            return known
        log = self.log(key) or self._logs.setdefault(key, Log())
        if expected is not None and len(log.ids) != expected:
            raise JournalConflict(key, expected=expected, found=len(log.ids))
        log.expires = self._clock() + stream.retention.total_seconds()
        return self.remember(key, message_id, self._add(log, fields))

    def reply(self, key: str, fields: Fields, *, most: int) -> bool:
        """Add an entry to a stream that exists."""
        if self.log(key) is None:
            return False
        self._add_newest(key, fields, most)
        return True

    def expire(self, key: str, *, within_s: float) -> None:
        """Let a stream vanish after a while."""
        if log := self.log(key):
            log.expires = self._clock() + within_s

    # -- consuming ---------------------------------------------------------------------------------------------------

    def take(self, lane: Lane, *, count: int) -> list[Entry]:
        """Deliver the group's next entries to a consumer."""
        log = self._logs[lane.key]
        group = log.groups[lane.group]
        ids = log.after(group.last, count)
        for entry in ids:
            group.last = entry
            group.pending[entry] = Held(lane.consumer, self._clock())
        return [Entry(text_of(entry), log.fields[entry], since=clock()) for entry in ids]

    def claim(self, lane: Lane, *, count: int) -> list[Entry]:
        """Give a consumer entries that have been idle for the lease."""
        log, group = self.log(lane.key), self.group(lane.key, lane.group)
        if log is None or group is None:
            return []
        now, lease = self._clock(), lane.stream.lease.total_seconds()
        idle = [entry for entry, held in group.pending.items() if now >= max(held.since + lease, held.parked)]
        for entry in [entry for entry in idle if entry not in log.fields]:
            group.settle(entry)
        claimed = sorted(entry for entry in idle if entry in log.fields)[:count]
        for entry in claimed:
            group.pending[entry] = Held(lane.consumer, now)
        return [Entry(text_of(entry), log.fields[entry], redelivered=True, since=clock()) for entry in claimed]

    def started(self, lane: Lane, runs: Runs, *, alone: bool) -> list[Starts]:
        """Note runs that begin; a suspect's only when it is alone."""
        group = self.group(lane.key, lane.group) or Group()
        counts: list[Starts] = []
        for entry, run in runs.items():
            if group.owns(lane.consumer, id_of(entry)):
                noted = group.runs[id_of(entry)]
                starts = Starts(len(noted) + (run not in noted), sum(noted.values()))
                if alone or not starts.suspect:
                    noted.setdefault(run, False)
                counts.append(starts)
            else:
                counts.append(Starts(-1, 0))
        return counts

    def ack(self, lane: Lane, ids: Sequence[str]) -> list[Acked]:
        """Settle what a consumer still owns."""
        group = self.group(lane.key, lane.group) or Group()
        outcome: list[Acked] = []
        for entry in map(id_of, ids):
            if group.owns(lane.consumer, entry):
                group.settle(entry)
                outcome.append(Acked.DONE)
            else:
                outcome.append(Acked.TAKEN if entry in group.pending else Acked.BEFORE)
        return outcome

    def extend(self, lane: Lane, ids: Sequence[str]) -> list[str]:
        """Renew what a consumer still owns; return what it lost."""
        group = self.group(lane.key, lane.group) or Group()
        lost: list[str] = []
        for entry in ids:
            if group.owns(lane.consumer, id_of(entry)):
                group.pending[id_of(entry)].since = self._clock()
            else:
                lost.append(entry)
        return lost

    def release(self, lane: Lane, runs: Runs, *, delay_s: float, failed: bool) -> None:
        """Note what became of runs, and let entries that a consumer owns be claimed after a delay."""
        group, now = self.group(lane.key, lane.group) or Group(), self._clock()
        for entry, run in ((id_of(text), run) for text, run in runs.items()):
            if group.owns(lane.consumer, entry):
                group.pending[entry] = Held(NOBODY, since=NEVER_S, parked=now + delay_s)
            if run and entry in group.pending:
                group.runs[entry].pop(run, None)
                if failed:
                    group.runs[entry][run] = True

    def unbegun(self, lane: Lane) -> list[str]:
        """Return what a consumer holds without ever having begun it."""
        group = self.group(lane.key, lane.group) or Group()
        return [
            text_of(entry)
            for entry, held in group.pending.items()
            if held.consumer == lane.consumer and not group.runs.get(entry)
        ]

    def bury(self, lane: Lane, entry: str, letter: Fields) -> bool:
        """Move an entry that a consumer owns to the dead letters."""
        group = self.group(lane.key, lane.group)
        if group is None or not group.owns(lane.consumer, id_of(entry)):
            return False
        self.add(dead_letters(lane.key, lane.group), letter)
        group.settle(id_of(entry))
        return True

    def backlog(self, key: str) -> list[Backlog]:
        """Return how the groups of a stream stand."""
        log = self.log(key)
        return log.backlog(dead=lambda group: len(self.entries(dead_letters(key, group)))) if log else []

    def trim(self, stream: Stream, key: str) -> int:
        """Drop what every group has settled and the retention does not keep."""
        log = self.log(key)
        if log is None or not log.groups:
            return 0
        keep: Id = (int((self._clock() - stream.retention.total_seconds()) * 1000), 0)
        for group in log.groups.values():
            keep = min(keep, (group.last[0], group.last[1] + 1), *group.pending)
        return log.drop_before(keep)

    # -- reading, marks ----------------------------------------------------------------------------------------------

    def read(self, key: str, *, after: str, count: int) -> list[Entry]:
        """Return entries after an id."""
        log = self.log(key)
        return [Entry(text_of(entry), log.fields[entry]) for entry in log.after(id_of(after), count)] if log else []

    def mark(self, server: Server, name: str, *, lifetime_s: float) -> None:
        """Set a mark."""
        self._marks[server, name] = self._clock() + lifetime_s

    def marked(self, server: Server, name: str) -> bool:
        """Whether a mark is set."""
        return self._marks.get((server, name), 0.0) > self._clock()

    async def changed(self, *, within_s: float) -> None:
        """Return when something was written, or after a while."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(turn)
        try:
            await asyncio.wait([turn], timeout=within_s)
        finally:
            if turn in self._waiters:
                self._waiters.remove(turn)

    def submit(self, server: Server, write: Callable[[], bool]) -> asyncio.Future[bool]:
        """Write now, or, in order, when the server is back; whoever asked need not wait for the outcome."""
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queued.append((server, write, outcome))
        self._write_queued()
        return outcome

    def wake(self) -> None:
        """Let everybody who waits look again."""
        waiters, self._waiters = self._waiters, []
        for turn in waiters:
            if not turn.done():
                turn.set_result(None)

    def _write_queued(self) -> None:
        queued, self._queued = self._queued, []
        for server, write, outcome in queued:
            if server in self._away:
                self._queued.append((server, write, outcome))
            elif not outcome.done():
                _do(write, outcome)

    def log(self, key: str) -> Log | None:
        """Return a stream that has not expired."""
        log = self._logs.get(key)
        if log and log.expires is not None and log.expires <= self._clock():
            del self._logs[key]
            return None
        return log

    def group(self, key: str, group: str) -> Group | None:
        """Return a group of a stream."""
        log = self.log(key)
        return log.groups.get(group) if log else None

    def _add(self, log: Log, fields: Fields) -> str:
        now: Id = (int(self._clock() * 1000), 0)
        log.last = max(now, (log.last[0], log.last[1] + 1))
        log.ids.append(log.last)
        log.fields[log.last] = dict(fields)
        self.wake()
        return text_of(log.last)

    def now(self) -> float:
        """Return seconds since the epoch by the broker's clock."""
        return self._clock()

    def known(self, key: str, message_id: str) -> str | None:
        """Return the entry that a message id has become within the window."""
        entry, until = self._seen.get(f"{key}:{message_id}", ("", 0.0))
        return entry if until > self._clock() else None

    def remember(self, key: str, message_id: str, entry: str, *, for_s: float = 0.0) -> str:
        """Note which entry a message id has become, or will have become after a while."""
        self._seen[f"{key}:{message_id}"] = (entry, self._clock() + for_s + DEDUP_WINDOW_S)
        return entry


def _do(write: Callable[[], bool], outcome: "asyncio.Future[bool]") -> None:
    try:
        outcome.set_result(write())
    except LeaseLost as error:
        outcome.set_exception(error)
        outcome.exception()  # whoever asked need not wait for the outcome
