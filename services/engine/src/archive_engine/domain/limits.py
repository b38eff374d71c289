"""Keep to what an engine allows per minute, and keep retries from becoming the load."""

from collections import deque

MINUTE_S = 60.0


class MinuteLimit:
    """A sliding minute of calls and tokens; 0 stands for no limit."""

    def __init__(self, *, requests: int = 0, tokens: int = 0) -> None:
        self._most_requests = requests
        self._most_tokens = tokens
        self._calls: deque[float] = deque()
        self._spent: deque[tuple[float, int]] = deque()

    def wait_s(self, now: float, *, tokens: int) -> float:
        """Return the seconds until a call with so many tokens keeps to the limits; 0 when it may go now.

        A call larger than the limit itself waits for an empty minute.
        """
        while self._calls and now - self._calls[0] >= MINUTE_S:
            self._calls.popleft()
        while self._spent and now - self._spent[0][0] >= MINUTE_S:
            self._spent.popleft()
        until = now
        if self._most_requests and len(self._calls) >= self._most_requests:
            until = self._calls[len(self._calls) - self._most_requests] + MINUTE_S
        over = sum(size for _, size in self._spent) + tokens - self._most_tokens if self._most_tokens else 0
        for at, size in self._spent:
            if over <= 0:
                break
            until = max(until, at + MINUTE_S)
            over -= size
        return until - now

    def call(self, now: float) -> None:
        """Take in a call."""
        if self._most_requests:
            self._calls.append(now)

    def spend(self, now: float, *, tokens: int) -> None:
        """Take in the tokens of a call that ended."""
        if self._most_tokens and tokens:
            self._spent.append((now, tokens))


class RetryBudget:
    """Retries may be a share of the calls, and a few more when there are hardly any.

    Each call pays in ``share``, each retry takes 1, and no more than ``most`` is saved up. A failing engine then gets
    1.2 times its load at worst, where three tries for each call would make it 3 times.
    """

    def __init__(self, *, share: float = 0.2, most: float = 10.0) -> None:
        self._share = share
        self._most = most
        self._saved = most

    @property
    def allows(self) -> bool:
        """Whether there is enough for a retry."""
        return self._saved >= 1.0

    def called(self) -> None:
        """Pay in for a call."""
        self._saved = min(self._most, self._saved + self._share)

    def retried(self) -> None:
        """Take out for a retry."""
        self._saved = max(0.0, self._saved - 1.0)
