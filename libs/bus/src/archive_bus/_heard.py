"""What was cancelled lately, as far as one process has heard of it."""

from collections import OrderedDict
from collections.abc import Callable

LIFE_S = 3600.0
"""How long a cancellation counts."""
MOST = 20_000
"""Cancellations kept; when there are more, what is not among them may have been cancelled all the same."""


class Heard:
    """Cancellations of the last hour, and whether it is certain that there were no others.

    It is while all that is said arrives here at once, and nothing of the last hour can have been missed.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # A plain dict would look at all places that were freed at its front to find the oldest.
        self._ends: OrderedDict[str, float] = OrderedDict()
        self._whole_from = float("inf")
        self._current_until = float("-inf")

    def add(self, target: str) -> None:
        """Take a cancellation in."""
        now = self._clock()
        self._ends[target] = now + LIFE_S
        self._ends.move_to_end(target)
        while (end := next(iter(self._ends.values()))) <= now or len(self._ends) > MOST:
            self._ends.popitem(last=False)
            if end > now:
                self._whole_from = max(self._whole_from, end)

    def caught_up(self, *, missed: bool) -> None:
        """Note that all is heard from now on; ``missed`` when some of what was said before may not have been."""
        if missed:
            self._whole_from = self._clock() + LIFE_S
        elif self._whole_from == float("inf"):
            self._whole_from = float("-inf")

    def current(self, *, for_s: float) -> None:
        """Note that everything said until a moment ago was heard, which is worth something for so long."""
        self._current_until = self._clock() + for_s

    def knows(self, target: str) -> bool | None:
        """Return whether a target was cancelled, None when that cannot be told from here."""
        if target in self._ends:
            return True
        now = self._clock()
        return False if self._whole_from <= now < self._current_until else None
