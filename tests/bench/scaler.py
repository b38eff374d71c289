"""KEDA and the autoscaler it drives, as a pure function: lag and pending in, replicas out.

KEDA gives each trigger as an average value; the Horizontal Pod Autoscaler takes the ceiling of total by target, the
largest of all triggers, adds at most four pods or doubles within one period, and takes away after a time without need.
Between zero and one KEDA decides alone: up as soon as a trigger is active, down after the cooldown.
"""

from dataclasses import dataclass
from math import ceil

ADDED_AT_ONCE = 4


@dataclass(slots=True)
class Scaler:
    """``each`` is how many waiting messages keep a replica busy; times are seconds."""

    each: int
    most: int
    cooldown_s: float
    replicas: int = 0
    _needed_at: float = 0.0

    def decide(self, lag: int, pending: int, *, at_s: float) -> int:
        """Return how many replicas there are to be from now on."""
        wanted = min(self.most, max(ceil(lag / self.each), ceil(pending / self.each)))
        if wanted >= self.replicas:
            self._needed_at = at_s
            self.replicas = min(wanted, max(self.replicas * 2, self.replicas + ADDED_AT_ONCE))
        elif at_s - self._needed_at >= self.cooldown_s:
            self._needed_at = at_s
            self.replicas = wanted
        return self.replicas
