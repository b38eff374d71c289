"""What a seed decides: which fault strikes when, and what each message does to its handler.

Pure: the same seed and length give the same schedule on every machine. (Which message a fault meets does not follow
from the seed: processes and kernel interleave as they like.)
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle


class Fault(StrEnum):
    """What the nemesis can do."""

    KILL_WORKER = "kill worker"
    TERMINATE_WORKER = "terminate worker"
    FREEZE_WORKER = "freeze worker"
    """SIGSTOP past the lease, then SIGCONT."""
    PAUSE_WORKER = "pause worker"
    """SIGSTOP for less than what the lease has left."""
    KILL_SERVER = "kill server"
    CUT_WORKER = "cut worker"
    """Its connections break, and can be made anew at once."""
    CUT_PUBLISHER = "cut publisher"
    ISOLATE_WORKER = "isolate worker"
    """Its connections stay open and nothing passes, past the lease."""
    ISOLATE_PUBLISHER = "isolate publisher"
    DELETE_GROUP = "delete group"
    DELETE_STREAM = "delete stream"
    FILL_MEMORY = "fill memory"
    SURGE = "surge"
    """More comes at once than all workers can do within a lease."""


# How often each strikes, relative to the others.
WEIGHTS = {
    Fault.KILL_WORKER: 6,
    Fault.TERMINATE_WORKER: 4,
    Fault.FREEZE_WORKER: 3,
    Fault.PAUSE_WORKER: 2,
    Fault.KILL_SERVER: 3,
    Fault.CUT_WORKER: 3,
    Fault.CUT_PUBLISHER: 2,
    Fault.ISOLATE_WORKER: 2,
    Fault.ISOLATE_PUBLISHER: 1,
    Fault.DELETE_GROUP: 1,
    Fault.DELETE_STREAM: 1,
    Fault.FILL_MEMORY: 2,
    Fault.SURGE: 2,
}
LONG = {Fault.FREEZE_WORKER, Fault.ISOLATE_WORKER}
"""Faults that outlast the lease."""
BRIEF = {Fault.KILL_SERVER, Fault.FILL_MEMORY, Fault.ISOLATE_PUBLISHER}
"""Faults that last up to two seconds."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: seconds after the start, which of the workers or streams, and seconds that it lasts."""

    at_s: float
    fault: Fault
    worker: int
    lasts_s: float


class Act(StrEnum):
    """What a message does to its handler."""

    QUICK = "quick"
    SLOW = "slow"
    LONG = "long"
    """Runs for longer than the lease."""
    STUMBLE = "stumble"
    """Fails at its first attempt."""
    POISON = "poison"
    """Fails at every attempt."""
    REJECT = "reject"


ACTS = {Act.QUICK: 80, Act.SLOW: 12, Act.LONG: 1, Act.STUMBLE: 4, Act.POISON: 1, Act.REJECT: 2}
DEADLY = {Act.POISON: "attempts_exhausted", Act.REJECT: "rejected"}
"""Acts that end among the dead letters, and the cause that they must carry there."""


def schedule(seed: int, *, seconds: float, lease_s: float, workers: int) -> Sequence[Step]:
    """Return the faults of a run, one at a time with pauses between.

    All kinds strike at least once before any is drawn by its weight, as far as the time goes.
    """
    chance = random.Random(f"schedule {seed}")
    steps: list[Step] = []
    at_s = 2.0
    for fault in _faults(chance):
        lasts_s = _length(fault, chance, lease_s)
        if at_s + lasts_s > seconds:
            return steps
        steps.append(Step(round(at_s, 2), fault, chance.randrange(workers), lasts_s))
        at_s += lasts_s + chance.uniform(0.5, 2.5)
    return steps


def _faults(chance: random.Random) -> Iterator[Fault]:
    first = list(Fault)
    chance.shuffle(first)
    yield from first
    while True:
        yield chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


def _length(fault: Fault, chance: random.Random, lease_s: float) -> float:
    if fault in LONG:
        return round(lease_s * chance.uniform(1.3, 2.0), 2)
    if fault is Fault.PAUSE_WORKER:
        return round(lease_s * chance.uniform(0.1, 0.3), 2)
    return round(chance.uniform(0.3, 2.0), 2) if fault in BRIEF else 0.0


def surge_acts() -> Iterator[Act]:
    """Yield what the messages of a surge do: they keep all workers busy, and some of them have to come back."""
    return cycle([*[Act.SLOW] * 19, Act.STUMBLE])


def acts(seed: int, lane: str = "") -> Iterator[Act]:
    """Yield what the messages of a publisher's lane do, one after another without end."""
    chance = random.Random(f"acts {seed}{lane}")
    while True:
        yield chance.choices(list(ACTS), list(ACTS.values()))[0]
