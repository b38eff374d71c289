"""Counts, shares and times that a history reaches; none of them is right or wrong."""

from collections.abc import Callable, Sequence
from statistics import median

from archive_testkit.chaos.facts import INFINITE, Facts, Run
from archive_testkit.chaos.history import Ending

DELAYING = ("kill server", "delete", "isolate", "freeze", "fill", "cut")
AWAY_S = 3.0
"""How long after its end such a fault may still delay what follows."""


def figures(facts: Facts, lease_s: float) -> dict[str, float]:
    """Return counts, shares and times."""
    killed, terminated = resumptions(facts, "SIGKILL"), resumptions(facts, "SIGTERM")
    retried = retries(facts)
    again = sum(1 for runs in facts.runs.values() if _needless(runs) > 0)
    done = sum(1 for message in facts.accepted if facts.done_at(message) < INFINITE)
    return {
        "accepted": len(facts.accepted),
        "done": done,
        "dead": len(facts.buried),
        "keyed": sum(1 for note in facts.accepted.values() if note.key),
        "doubled": len(facts.doubled),
        "taken_with_stream": len(facts.taken_with_stream()),
        "run_twice_share": again / len(facts.runs) if facts.runs else 0.0,
        "killed_in_hand": len(killed),
        "reclaim_p50_s": median(killed) if killed else 0.0,
        "reclaim_max_s": max(killed, default=0.0),
        "reclaim_max_per_lease": max(killed, default=0.0) / lease_s,
        "retried": len(retried),
        "retry_p50_s": median(retried) if retried else 0.0,
        "retry_max_s": max(retried, default=0.0),
        "handed_back": len(terminated),
        "handback_p50_s": median(terminated) if terminated else 0.0,
        "handback_max_s": max(terminated, default=0.0),
    }


def _needless(runs: Sequence[Run]) -> int:
    """How many runs beyond the first were not asked for by a failed one."""
    return len(runs) - 1 - sum(1 for run in runs if run.ending is Ending.FAILED)


def resumptions(facts: Facts, signal: str) -> list[float]:
    """Return the seconds until each message that a process had in hand when it was ended by a signal ran again.

    Counted from the kill, or from the cancelled run's end. Left out is what another fault met meanwhile: it waited for
    the server, for a stream to come back, or for another process that had taken it over and was ended, too.
    """

    def cut(run: Run) -> bool:
        death = facts.died.get(run.who)
        unfinished = run.ending in {None, Ending.CANCELLED}
        return unfinished and death is not None and death.detail == signal and run.ended >= death.at

    return _waits(facts, cut)


def retries(facts: Facts) -> list[float]:
    """Return the seconds until each message whose run failed ran again, its back-off included; as ``resumptions``."""
    return _waits(facts, lambda run: run.ending is Ending.FAILED)


def _waits(facts: Facts, over: Callable[[Run], bool]) -> list[float]:
    waits: list[float] = []
    disturbed = _disturbances(facts)
    for runs in facts.runs.values():
        for run in filter(over, runs):
            begun = min((other.began for other in runs if other.began > run.ended), default=INFINITE)
            struck = any(since < begun and until > run.ended for who, since, until in disturbed if who != run.who)
            if begun < INFINITE and not struck:
                waits.append(begun - run.ended)
    return waits


def _disturbances(facts: Facts) -> list[tuple[str, float, float]]:
    """Return which process was ended, if any, and from when to when what struck it could delay others."""
    ended = [(who, note.at, note.at) for who, note in facts.died.items()]
    struck = [
        ("", note.at, note.at + float(note.detail.rpartition(" ")[2]) + AWAY_S)
        for note in facts.faults
        if note.detail.startswith(DELAYING)
    ]
    return [*ended, *struck]
