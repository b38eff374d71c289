"""The delivery rules: what happens to a message between the moment it is read and the moment it is settled."""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from archive_bus._coalesce import Coalescer
from archive_bus._errors import BusError, BusUnavailable, PayloadError, Reject, Retry
from archive_bus._transport import Entry, Lane, Starts, Transport
from archive_contracts.base import Message, Problem
from archive_contracts.envelope import Envelope, EnvelopeError
from archive_contracts.streams import TYPES

log = logging.getLogger(__name__)

Run = Callable[[Envelope, Message, int], Awaitable[None]]
"""Runs the handler for a message; (envelope, message, attempt)."""

SUSPECT_AFTER = 2
"""Runs that took their process with them, after which a message runs alone."""


class Consumer:
    """Handles the entries of one lane, at most ``concurrency`` at a time."""

    def __init__(
        self,
        *,
        lane: Lane,
        transport: Transport,
        handlers: Mapping[type[Message], Any],
        run: Run,
        refuse: Callable[[Envelope, Problem], Awaitable[object]],
        load: Callable[[Envelope], Awaitable[bytes]],
        concurrency: int,
    ) -> None:
        self.lane = lane
        self.counts: Counter[str] = Counter()
        self.progressed = time.monotonic()
        self._transport = transport
        self._handlers = handlers
        self._run = run
        self._refuse = refuse
        self._load = load
        self._concurrency = concurrency
        self._gate = _Gate(concurrency)
        self._owned: dict[str, asyncio.Task[None] | None] = {}
        self._begun: set[str] = set()
        self._lost: set[str] = set()
        self._draining = False

    @property
    def in_flight(self) -> int:
        """Messages whose handler runs."""
        return len(self._begun)

    async def serve(self, *, prefetch: int) -> None:
        """Read, claim, renew and trim until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._start = Coalescer[str, Starts](self._count_starts, tasks)
            self._ack = Coalescer[str, bool](self._send_acks, tasks)
            self._tasks = tasks
            tasks.create_task(self._transport.pump(self.lane, self._feed, prefetch=prefetch))
            tasks.create_task(self._every(self._scan_s(), self._claim))
            tasks.create_task(self._every(self.lane.stream.lease.total_seconds() / 3, self._renew))
            tasks.create_task(self._every(5.0, self._trim))

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, let what runs finish within the grace, hand the rest back."""
        self._draining = True
        buffered = [entry_id for entry_id in self._owned if entry_id not in self._begun]
        await self._give_back(buffered, begun=False)
        running = [task for entry_id in self._begun if (task := self._owned.get(entry_id))]
        if running:
            await asyncio.wait(running, timeout=grace_s)
        unfinished = list(self._begun)
        self._lost.update(unfinished)
        for entry_id in unfinished:
            if task := self._owned.get(entry_id):
                task.cancel()
        await self._give_back(unfinished, begun=True)

    async def _give_back(self, ids: Sequence[str], *, begun: bool) -> None:
        if not ids:
            return
        try:
            await self._transport.hand_back(self.lane, ids, begun=begun)
            self.counts["handed_back"] += len(ids)
        except BusUnavailable:
            log.warning("cannot hand %d messages back to %s: they resume after their lease", len(ids), self.lane.key)

    def _scan_s(self) -> float:
        return min(1.0, self.lane.stream.lease.total_seconds() / 5)

    async def _every(self, period_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(period_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, hides nothing
            try:
                await act()
                self.progressed = time.monotonic()
            except BusUnavailable:
                log.warning("%s: the bus does not answer; trying again", self.lane.key)

    async def _claim(self) -> None:
        free = self._concurrency - len(self._owned)
        if free > 0 and not self._draining:
            await self._feed(await self._transport.claim(self.lane, count=free))

    async def _renew(self) -> None:
        mine = [entry_id for entry_id in self._owned if entry_id not in self._lost]
        if not mine:
            return
        for entry_id in await self._transport.extend(self.lane, mine):
            self._lost.add(entry_id)
            self.counts["lost_lease"] += 1
            log.warning("%s: lost the lease of %s; its handler is cancelled", self.lane.key, entry_id)
            if task := self._owned.get(entry_id):
                task.cancel()

    async def _trim(self) -> None:
        await self._transport.trim(self.lane.stream, self.lane.partition)

    async def _count_starts(self, ids: Sequence[str]) -> Sequence[Starts]:
        return await self._transport.started(self.lane, ids)

    async def _send_acks(self, ids: Sequence[str]) -> Sequence[bool]:
        return await self._transport.ack(self.lane, ids)

    async def _feed(self, entries: Sequence[Entry]) -> None:
        self.progressed = time.monotonic()
        for entry in entries:
            self._owned[entry.id] = None
        for entry in entries:
            await self._gate.enter()
            if self._draining or entry.id in self._lost:
                self._gate.leave()
                self._forget(entry.id)
                continue
            self._begun.add(entry.id)
            self._owned[entry.id] = self._tasks.create_task(self._handle(entry))
        await self._gate.free()

    async def _handle(self, entry: Entry) -> None:
        try:
            await self._settle(entry)
        except asyncio.CancelledError:
            if entry.id not in self._lost:
                raise
        except BusUnavailable:
            # Not settled: the lease runs out, and another run finds its outputs already published.
            log.warning("%s: the bus went away while %s was handled; it will run again", self.lane.key, entry.id)
        finally:
            self._forget(entry.id)
            self._gate.leave()

    def _forget(self, entry_id: str) -> None:
        self._owned.pop(entry_id, None)
        self._begun.discard(entry_id)
        self._lost.discard(entry_id)

    async def _settle(self, entry: Entry) -> None:
        """Decode, run and settle one entry."""
        try:
            envelope, message = await self._decode(entry)
        except (EnvelopeError, ValidationError) as error:
            await self._bury(entry, "undecodable", str(error))
            return
        except _UnknownType as error:
            await self._bury(entry, "unknown_type", str(error))
            return
        except PayloadError as error:
            await self._bury(entry, error.code, str(error))
            return
        if type(message) not in self._handlers:
            await self._ack.put(entry.id)
        elif envelope.deadline and envelope.deadline < time.time() * 1000:
            self.counts["expired"] += 1
            await self._refuse(envelope, _EXPIRED)
            await self._ack.put(entry.id)
        else:
            await self._execute(entry, envelope, message)

    async def _decode(self, entry: Entry) -> tuple[Envelope, Message]:
        envelope = Envelope.from_fields(entry.fields, entry_id=entry.id)
        model = TYPES.get(envelope.type)
        if model is None:
            raise _UnknownType(f"no message type {envelope.type!r} is known here")
        return envelope, model.model_validate_json(await self._load(envelope))

    async def _execute(self, entry: Entry, envelope: Envelope, message: Message) -> None:
        starting = self._start.put(entry.id)
        # Only a message that was delivered before can have a history worth waiting for.
        starts = await starting if entry.redelivered else Starts(begun=1, failed=0)
        if starts.begun > self.lane.stream.attempts:
            await self._bury(entry, "attempts_exhausted", "its handler took the process down each time", envelope)
            return
        alone = starts.begun - 1 - starts.failed >= SUSPECT_AFTER
        async with self._gate.alone() if alone else contextlib.nullcontext():
            await self._attempt(entry, envelope, message, starts.begun)

    async def _attempt(self, entry: Entry, envelope: Envelope, message: Message, attempt: int) -> None:
        began = time.monotonic()
        try:
            await self._run(envelope, message, attempt)
        except Reject as verdict:
            await self._refuse(envelope, verdict.problem)
            await self._bury(entry, verdict.problem.code, str(verdict), envelope)
        except Retry as verdict:
            await self._again(entry, envelope, attempt, verdict, delay_s=verdict.delay_s)
        except BusUnavailable:
            raise
        except Exception as error:
            log.exception("%s: attempt %d at %s failed", self.lane.key, attempt, envelope.type)
            await self._again(entry, envelope, attempt, error, delay_s=None)
        else:
            if await self._ack.put(entry.id):
                self.counts["done"] += 1
            else:
                self.counts["lost_lease"] += 1
        finally:
            self.counts["busy_us"] += int((time.monotonic() - began) * 1e6)

    async def _again(
        self, entry: Entry, envelope: Envelope, attempt: int, error: Exception, *, delay_s: float | None
    ) -> None:
        if attempt >= self.lane.stream.attempts:
            problem = error.problem() if isinstance(error, BusError) else _failure(error)
            await self._refuse(envelope, problem)
            await self._bury(entry, "attempts_exhausted", f"{type(error).__name__}: {error}", envelope)
            return
        self.counts["retried"] += 1
        await self._transport.park(self.lane, entry.id, delay_s=backoff(attempt) if delay_s is None else delay_s)

    async def _bury(self, entry: Entry, code: str, cause: str, envelope: Envelope | None = None) -> None:
        self.counts["dead"] += 1
        log.error("%s: %s goes to the dead letters: %s: %s", self.lane.key, entry.id, code, cause)
        facts = {"code": code, "cause": cause[:4000], "type": envelope.type if envelope else ""}
        await self._transport.bury(self.lane, entry, facts)


def backoff(attempt: int, *, first_s: float = 0.2, most_s: float = 30.0) -> float:
    """Return seconds to wait after the attempt: exponential with full jitter above a half."""
    return min(most_s, first_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load


class _UnknownType(Exception):
    pass


class _Gate:
    """Admits up to ``limit`` at a time, or a single one alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._solo = False
        self._waiters: list[asyncio.Future[None]] = []

    async def enter(self) -> None:
        await self.free()
        self._inside += 1

    def leave(self) -> None:
        self._inside -= 1
        self._wake()

    async def free(self) -> None:
        """Wait until one more could enter."""
        await self._until(lambda: self._inside < self._limit and not self._solo)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncGenerator[None, None]:
        """Wait until nobody else is inside, and let nobody in meanwhile; called from inside."""
        await self._until(lambda: not self._solo)
        self._solo = True
        try:
            await self._until(lambda: self._inside <= 1)
            yield
        finally:
            self._solo = False
            self._wake()

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(turn)
            await turn

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for turn in waiters:
            if not turn.done():
                turn.set_result(None)


_EXPIRED = Problem(
    code="deadline_exceeded",
    message="The request waited past its deadline and was not started.",
    next_step="Try again; if it happens often, add replicas of the service or raise the deadline.",
    status=504,
    retry_after_s=2.0,
)


def _failure(error: Exception) -> Problem:
    return Problem(
        code="internal_error",
        message=f"The request failed: {type(error).__name__}.",
        next_step="See 'archive dead list' and the log of the service for the cause.",
        status=500,
    )
