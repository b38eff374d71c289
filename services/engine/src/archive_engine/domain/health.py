"""Active checks: three bad ones in a row take an engine out, two good ones bring it back."""

BAD_OUT = 3
GOOD_IN = 2


class Health:
    """Folds the outcomes of checks. The first good one counts in full: a worker that starts need not wait."""

    def __init__(self) -> None:
        self._out = "not asked yet"
        self._fresh = True
        self._bad = 0
        self._good = 0

    @property
    def problem(self) -> str:
        """Why the engine is out; empty when it is in."""
        return self._out

    def saw(self, problem: str) -> str:
        """Take in one check, with what was wrong or nothing, and return why the engine is out, or nothing."""
        if problem:
            self._bad, self._good = self._bad + 1, 0
            if self._fresh or self._out or self._bad >= BAD_OUT:
                self._out = problem
        else:
            self._bad, self._good = 0, self._good + 1
            if self._fresh or self._good >= GOOD_IN:
                self._out, self._fresh = "", False
        return self._out
