"""How long to wait before a process that died is started again. Pure."""

from dataclasses import dataclass

STEADY_S = 60.0
"""A process that lived this long is healthy again: its next death is a first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential with full-range jitter above a floor, so that processes which died together do not return together.

    All times are in seconds.
    """

    first_s: float = 0.5
    cap_s: float = 30.0

    def delay(self, deaths: int, *, jitter: float) -> float:
        """Return the wait before restart number `deaths` (from 1); `jitter` is uniform in [0, 1).

        The wait lies in [half, whole] of ``first_s * 2**(deaths - 1)``, capped.
        """
        # The exponent is bounded because a float overflows long before a process stops dying.
        whole = min(self.cap_s, self.first_s * 2.0 ** min(max(deaths, 1) - 1, 32))
        return whole * (0.5 + 0.5 * jitter)


def count_deaths(before: int, *, lived_s: float) -> int:
    """Return the number of deaths in a row, this one included."""
    return 1 if lived_s >= STEADY_S else before + 1
