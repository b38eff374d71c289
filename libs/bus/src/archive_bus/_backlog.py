"""How consumer groups stand: what waits for them and who asks for it."""

from dataclasses import dataclass
from typing import Any

NOBODY = "-"
"""The consumer that entries belong to which were handed back or parked."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a group has before it.

    ``lag`` is what no consumer has read, None when the server cannot tell; ``pending`` what was read and is not
    settled; ``oldest_ms`` when the oldest of both was published, by the server's clock, 0 when there is none;
    ``silent_s`` how long ago a consumer of the group asked for more, None when there never was one; ``awake`` how many
    of its ``consumers`` asked within the last seconds. Redis 7.0 notes only that a consumer was given something.
    """

    group: str
    lag: int | None
    pending: int
    oldest_ms: int
    silent_s: float | None
    consumers: int
    dead: int
    awake: int = 0


def backlog_of(row: Any) -> Backlog:
    """Return a row of the backlog script."""
    name, lag, pending, oldest, silent, consumers, dead, awake = row
    return Backlog(
        group=name.decode(),
        lag=None if lag < 0 else lag,
        pending=pending,
        oldest_ms=int(oldest.partition(b"-")[0] or 0),
        silent_s=None if silent < 0 else silent / 1000,
        consumers=consumers,
        dead=dead,
        awake=awake,
    )


def dropped_groups(physical: str) -> str:
    """Return the key that names the groups of a stream which an operator has dropped."""
    return f"{physical}:dropped"
