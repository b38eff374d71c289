"""What a worker measures of its engine: moving averages that forget."""

from dataclasses import dataclass


class Ewma:
    """Exponentially weighted moving average: a new value counts ``alpha``, the past the rest.

    The first value is the average; ``warm`` tells whether there was one.
    """

    def __init__(self, *, alpha: float = 0.2) -> None:
        self._alpha = alpha
        self.value = 0.0
        self.warm = False

    def add(self, value: float) -> None:
        """Take in a measurement."""
        self.value = value if not self.warm else self.value + self._alpha * (value - self.value)
        self.warm = True


@dataclass(frozen=True, slots=True)
class Reading:
    """Averages in seconds, the share of failed calls; calls ended, calls failed and tokens written since the start."""

    service_s: float = 0.0
    ttft_s: float = 0.0
    error_rate: float = 0.0
    served: int = 0
    failed: int = 0
    written: int = 0


class Pulse:
    """Averages over the calls to one engine."""

    def __init__(self) -> None:
        self._service, self._ttft, self._errors = Ewma(), Ewma(), Ewma(alpha=0.1)
        self._served = self._failed = self._written = 0

    def succeeded(self, *, service_s: float, ttft_s: float | None) -> None:
        """Take in a call that was answered in full; without a token there is no time to one."""
        self._service.add(service_s)
        if ttft_s is not None:
            self._ttft.add(ttft_s)
        self._ended(0.0)

    def failed(self) -> None:
        """Take in a call that failed through no fault of the client."""
        self._failed += 1
        self._ended(1.0)

    def wrote(self, tokens: int) -> None:
        """Take in the tokens of an answer, whole or not."""
        self._written += tokens

    def _ended(self, error: float) -> None:
        self._served += 1
        # From the first call on: an average that began with a single failure would say that all fail.
        self._errors.warm = True
        self._errors.add(error)

    def reading(self) -> Reading:
        """Return what was measured so far."""
        return Reading(
            self._service.value, self._ttft.value, self._errors.value, self._served, self._failed, self._written
        )
