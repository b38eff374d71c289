"""Leave an engine alone that fails or asks for it, and try again carefully.

Closed: calls pass. Open: none does until the rest is over. Half-open: one call at a time tries; a few successes close
the breaker, one failure opens it for twice as long. (Nygard, Release It!, chapter 5: Circuit Breaker.)
"""

from enum import StrEnum

FAILURES = 5
"""Failures in a row that open it."""
SUCCESSES = 2
"""Trials in a row that close it."""
REST_S = 1.0
MOST_REST_S = 30.0
LONGEST_S = 600.0
"""An engine that asks for more is tried then all the same: a slip in a header must not take it out for good."""
TRIAL_WAIT_S = 0.2
"""How long to wait while somebody else tries."""


class State(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Guards the calls to one engine. ``now`` is seconds on a clock that does not go back."""

    def __init__(self) -> None:
        self._failures = 0
        self._successes = 0
        self._rest_s = REST_S
        self._until = 0.0
        self._tripped = False
        self._trials = 0

    def state(self, now: float) -> State:
        """Return the state."""
        if not self._tripped:
            return State.CLOSED
        return State.OPEN if now < self._until else State.HALF_OPEN

    def rest_s(self, now: float) -> float:
        """Return the seconds for which no call passes; 0 when one may."""
        return max(0.0, self._until - now) if self._tripped else 0.0

    def enter(self, now: float) -> float:
        """Ask to make a call: 0 lets it pass, and `leave` or an outcome has to follow; else seconds to wait."""
        match self.state(now):
            case State.OPEN:
                return self.rest_s(now)
            case State.HALF_OPEN if self._trials:
                return TRIAL_WAIT_S
            case _:
                self._trials += 1
                return 0.0

    def leave(self) -> None:
        """Take note that a call ended without saying anything of the engine: cancelled, or the client's fault."""
        self._trials = max(0, self._trials - 1)

    def succeeded(self) -> None:
        """Take note of a call that was answered."""
        self.leave()
        self._failures = 0
        self._successes += 1
        if self._tripped and self._successes >= SUCCESSES:
            self._tripped, self._rest_s = False, REST_S

    def failed(self, now: float, *, rest_s: float | None = None) -> None:
        """Take note of a call that failed; ``rest_s`` is how long the engine asked to be left alone."""
        self.leave()
        trial = self.state(now) is State.HALF_OPEN
        self._successes = 0
        self._failures += 1
        if rest_s is not None:
            self._open(now, rest_s)
        elif trial or self._failures >= FAILURES:
            self._open(now, self._rest_s)
            self._rest_s = min(self._rest_s * 2, MOST_REST_S)

    def rest(self, now: float, *, rest_s: float) -> None:
        """Leave the engine alone because another worker was told to."""
        self._open(now, rest_s)

    def _open(self, now: float, rest_s: float) -> None:
        self._tripped = True
        self._successes = 0
        self._until = max(self._until, now + min(rest_s, LONGEST_S))
