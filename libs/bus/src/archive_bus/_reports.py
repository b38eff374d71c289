"""What an operator is told of streams, groups and dead letters."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archive_bus._backlog import Backlog
from archive_bus._errors import BusError

STALE_S = 600.0


class NoSuchDeadLetter(BusError):
    """There is no dead letter of that id."""

    code = "no_such_dead_letter"
    next_step = "List them with 'archive dead list'."


class SameDeadLetters(BusError):
    """Dead letters of several groups have that id."""

    code = "same_dead_letters"
    next_step = "Say which one: ID@STREAM:PARTITION:GROUP, as the message names them."


class NoSuchGroup(BusError):
    """The stream has no such group."""

    code = "no_such_group"
    next_step = "List the groups with 'archive streams'."


@dataclass(frozen=True, slots=True)
class GroupReport:
    """One consumer group of a stream.

    ``lag`` is None when the server cannot tell; ``oldest_s`` the age of the oldest message it has not settled, read or
    unread; ``seen_s`` how long ago one of its consumers last spoke, None when there never was one; ``awake`` how many
    of them spoke within the last seconds. It is ``stale`` when messages have waited for long and nobody asks for them:
    they fill the server until somebody does or drops the group.
    """

    name: str
    lag: int | None
    pending: int
    consumers: int
    dead: int
    oldest_s: float | None
    seen_s: float | None
    awake: int = 0

    @property
    def stale(self) -> bool:
        """Whether it pins what it will never handle."""
        silent = self.seen_s is None or self.seen_s > STALE_S
        return silent and self.oldest_s is not None and self.oldest_s > STALE_S


@dataclass(frozen=True, slots=True)
class ConsumerReport:
    """One process that reads for a group.

    ``pending`` counts what it has read and not settled; ``seen_s`` is how long ago it last spoke.
    """

    name: str
    pending: int
    seen_s: float


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One physical stream. Ages are seconds; ``oldest_s`` is of the first entry it still holds."""

    key: str
    stream: str
    partition: str
    length: int
    oldest_s: float | None
    groups: tuple[GroupReport, ...]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up, with its cause and the fields as they came.

    ``attempts`` is how often it was begun; 0 when it was never read as a message.
    """

    id: str
    key: str
    group: str
    entry: str
    type: str
    code: str
    cause: str
    at: float
    fields: Mapping[bytes, bytes]
    attempts: int = 0

    @property
    def name(self) -> str:
        """What tells it from all others: ids are those of a group's dead letters, and groups bury at the same time."""
        return f"{self.id}@{self.key.strip('{}')}:{self.group}"


@dataclass(frozen=True, slots=True)
class ServerMemory:
    """Bytes that a server uses, and those it may: its own limit, where it has none the machine's memory."""

    used: int
    limit: int

    @property
    def free(self) -> float:
        """The share that is left."""
        return max(0.0, 1 - self.used / self.limit) if self.limit else 0.0


def memory_report(info: Mapping[str, Any]) -> ServerMemory:
    """Return what a server says of its memory."""
    limit = int(info.get("maxmemory") or 0) or int(info.get("total_system_memory") or 0)
    return ServerMemory(int(info["used_memory"]), limit)


def group_report(backlog: Backlog) -> GroupReport:
    """Return what an operator is told of a group."""
    return GroupReport(
        name=backlog.group,
        lag=backlog.lag,
        pending=backlog.pending,
        consumers=backlog.consumers,
        dead=backlog.dead,
        oldest_s=max(0.0, time.time() - backlog.oldest_ms / 1000) if backlog.oldest_ms else None,
        seen_s=backlog.silent_s,
        awake=backlog.awake,
    )


def consumer_report(row: Mapping[str, Any]) -> ConsumerReport:
    """Return what an operator is told of a consumer, from what the server says of it."""
    name = row["name"]
    name = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    return ConsumerReport(name=name, pending=int(row["pending"]), seen_s=int(row["idle"]) / 1000)


def dead_letter_report(key: str, group: str, letter_id: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """Return a dead letter from the fields of its entry."""

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    raw = {name.removeprefix(b"raw."): value for name, value in fields.items() if name.startswith(b"raw.")}
    return DeadLetter(
        id=letter_id,
        key=key,
        group=group,
        entry=text(b"entry"),
        type=text(b"cause.type") or raw.get(b"type", b"").decode(errors="replace"),
        code=text(b"cause.code"),
        cause=text(b"cause.cause"),
        at=int(text(b"at") or "0") / 1000,
        fields=raw,
        attempts=int(text(b"cause.attempts") or "0"),
    )
