"""A seed decides everything that can be decided."""

from itertools import islice, pairwise

from hypothesis import given
from hypothesis import strategies as st

from archive_testkit.chaos.schedule import LONG, Act, Fault, acts, schedule

seeds = st.integers(0, 2**32)


@given(seeds, st.floats(10, 900))
def test_same_seed_same_schedule(seed: int, seconds: float) -> None:
    one = schedule(seed, seconds=seconds, lease_s=3.0, workers=3)
    assert one == schedule(seed, seconds=seconds, lease_s=3.0, workers=3)
    assert one[: len(one) // 2] == schedule(seed, seconds=seconds * 2, lease_s=3.0, workers=3)[: len(one) // 2]


@given(seeds)
def test_every_fault_strikes_within_minutes(seed: int) -> None:
    steps = schedule(seed, seconds=120, lease_s=3.0, workers=3)
    assert {step.fault for step in steps} == set(Fault)


@given(seeds)
def test_faults_come_one_by_one(seed: int) -> None:
    steps = schedule(seed, seconds=300, lease_s=3.0, workers=3)
    assert all(one.at_s + one.lasts_s < two.at_s for one, two in pairwise(steps))
    assert all(step.lasts_s > 3.0 for step in steps if step.fault in LONG)
    assert all(0 <= step.worker < 3 for step in steps)


@given(seeds)
def test_messages_of_every_kind_come(seed: int) -> None:
    drawn = list(islice(acts(seed), 2000))
    assert set(drawn) == set(Act)
    assert drawn == list(islice(acts(seed), 2000))
