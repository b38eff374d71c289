"""Whether a lane can take a request in time, and if not, when to come back."""

from dataclasses import dataclass

from archive_contracts.base import Problem
from archive_router.domain.lanes import LaneView

UNKNOWN_SERVICE_S = 1.0
"""Taken for the time of a job until an engine has measured one."""
AHEAD_S = 0.5
"""Work that lies on a lane beyond its slots, in seconds: workers must not run dry between two heartbeats."""
MOST_AHEAD = 512
SLEEPING_ROOM = 64
"""Jobs that a lane without workers keeps: demand enough to wake it, and few enough to be served when it wakes."""
LEAST_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Queued:
    """What waits in the router for a lane: all of it, and what of it goes before a new request."""

    size: int = 0
    ahead: int = 0


def room(lane: LaneView) -> int:
    """Return how many more jobs the lane itself takes now; the rest waits in the router, where it can be ordered."""
    if not lane.slots:
        return SLEEPING_ROOM - lane.waiting - lane.sent
    ahead = min(lane.slots * AHEAD_S / (lane.service_s or UNKNOWN_SERVICE_S), MOST_AHEAD)
    return lane.slots + max(lane.slots, int(ahead)) - lane.busy - lane.waiting - lane.sent


def wait_s(lane: LaneView, queued: Queued) -> float:
    """Return the seconds until a new request gets a slot, from backlog, slots and the measured time of a job."""
    if not lane.slots:
        return lane.start_s
    before = max(0, lane.busy + lane.waiting + lane.sent - lane.slots + 1) + queued.ahead
    return before * (lane.service_s or UNKNOWN_SERVICE_S) / lane.slots


def refusal(lane: LaneView, queued: Queued, *, budget_s: float | None, full: bool) -> Problem | None:
    """Say that the request cannot be served before its deadline, or None.

    ``budget_s`` is what is left until the deadline, None without one; ``full`` means that the queue has no place for
    this tenant. The time to wait is what the backlog needs to shrink by enough for the same request to be taken.
    """
    wait = wait_s(lane, queued)
    needed = wait + lane.service_s
    if full:
        return _busy(
            "The queue of this lane is full.", max(LEAST_WAIT_S, lane.service_s or UNKNOWN_SERVICE_S, wait / 2)
        )
    if budget_s is None or not wait or needed <= budget_s or lane.asleep:
        return None
    return _busy(
        f"About {wait:.0f} s of work wait before this request, and {max(budget_s, 0):.0f} s are left for it.",
        max(LEAST_WAIT_S, needed - budget_s),
    )


def _busy(why: str, retry_after_s: float) -> Problem:
    return Problem(
        code="engine_overloaded",
        message=why,
        next_step="Wait as told, give the request more time, or add engines to the pool.",
        status=429,
        retry_after_s=round(retry_after_s, 1),
    )
