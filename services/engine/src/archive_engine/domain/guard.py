"""All that decides whether an engine is called now, and all that is learned from it."""

from archive_engine.domain.averages import Pulse, Reading
from archive_engine.domain.breaker import Breaker
from archive_engine.domain.errors import EngineResting
from archive_engine.domain.limits import MinuteLimit, RetryBudget


class Guard:
    """The breaker, the limits, the retry budget and the averages of one engine, by one worker."""

    def __init__(self, *, engine: str, requests_per_minute: int = 0, tokens_per_minute: int = 0) -> None:
        self._engine = engine
        self._breaker = Breaker()
        self._limit = MinuteLimit(requests=requests_per_minute, tokens=tokens_per_minute)
        self._pulse = Pulse()
        self.budget = RetryBudget()

    def enter(self, now: float, *, tokens: int) -> None:
        """Ask to make a call; an outcome or `leave` has to follow.

        Raises:
            EngineResting: not now, and when.
        """
        wait = self._limit.wait_s(now, tokens=tokens)
        if wait:
            raise EngineResting(f"The engine {self._engine!r} has used up its minute.", rest_s=wait, status=429)
        rest = self._breaker.enter(now)
        if rest:
            raise EngineResting(f"The engine {self._engine!r} is left alone after failures.", rest_s=rest)
        self._limit.call(now)
        self.budget.called()

    def spend(self, now: float, *, tokens: int, written: int = 0) -> None:
        """Take note of the tokens of a call, however it ended; ``written`` are those of its answer."""
        self._limit.spend(now, tokens=tokens)
        self._pulse.wrote(written)

    def leave(self) -> None:
        """Take note that a call ended without saying anything of the engine."""
        self._breaker.leave()

    def succeeded(self, *, service_s: float, ttft_s: float | None) -> None:
        """Take note of a call that was answered in full."""
        self._breaker.succeeded()
        self._pulse.succeeded(service_s=service_s, ttft_s=ttft_s)

    def failed(self, now: float, *, rest_s: float | None) -> None:
        """Take note of a call that failed; ``rest_s`` is how long the engine asked to be left alone."""
        self._breaker.failed(now, rest_s=rest_s)
        self._pulse.failed()

    def rest(self, now: float, *, rest_s: float) -> None:
        """Leave the engine alone because another worker was told to."""
        self._breaker.rest(now, rest_s=rest_s)

    def rest_s(self, now: float) -> float:
        """Return the seconds for which the engine is left alone."""
        return self._breaker.rest_s(now)

    @property
    def reading(self) -> Reading:
        """What was measured so far."""
        return self._pulse.reading()
