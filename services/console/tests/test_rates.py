"""Speed and failures of engines over the last minute."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as some

from archive_console.domain.rates import WINDOW_S, Gauge
from archive_contracts.engine import EngineRegistered


def beat(worker: str = "w", *, served: int = 0, failed: int = 0, written: int = 0) -> EngineRegistered:
    return EngineRegistered(
        worker=worker,
        engine="e",
        pool="p",
        models=(),
        capabilities=("chat",),
        slots=1,
        served=served,
        failed=failed,
        written=written,
    )


def test_speeds_of_workers_add_up() -> None:
    gauge = Gauge()
    for worker, tokens in (("a", 100), ("b", 300)):
        gauge.hear(beat(worker, written=7), 0.0)
        gauge.hear(beat(worker, served=2, failed=1, written=7 + tokens), 10.0)
    seen = gauge.rates()
    assert (seen.tokens_per_s, seen.calls, seen.errors) == (40.0, 4, 0.5)


def test_what_is_older_than_the_window_does_not_count() -> None:
    gauge = Gauge()
    gauge.hear(beat(served=0, failed=0, written=0), 0.0)
    gauge.hear(beat(served=9, failed=9, written=900), 1.0)
    gauge.hear(beat(served=9, failed=9, written=900), 1.0 + WINDOW_S)
    assert (gauge.rates().tokens_per_s, gauge.rates().calls, gauge.rates().errors) == (0.0, 0, 0.0)


def test_worker_that_is_gone_counts_no_more() -> None:
    gauge = Gauge()
    gauge.hear(beat(), 0.0)
    gauge.hear(beat(served=3, written=60), 2.0)
    gauge.forget("w")
    gauge.forget("nobody")
    assert gauge.rates().calls == 0


@given(some.lists(some.integers(0, 50), min_size=2, max_size=40), some.floats(0.5, 30))
def test_rates_are_of_the_window(steps: list[int], every_s: float) -> None:
    gauge = Gauge()
    totals = [sum(steps[: number + 1]) for number in range(len(steps))]
    for number, total in enumerate(totals):
        gauge.hear(beat(served=total, written=total), number * every_s)
    seen = gauge.rates()
    assert 0 <= seen.calls <= totals[-1] - totals[0]
    assert seen.tokens_per_s <= max(after - before for before, after in pairwise(totals)) / min(1.0, every_s) + 1e-9
