"""The simulated autoscaler follows a backlog as KEDA and the autoscaler it drives do."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

FOUND: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("scaler.py")))
COUNTS = st.integers(0, 500)
COOLDOWN_S = 5.0


def scaler(*, replicas: int = 0) -> Any:
    return FOUND["Scaler"](each=4, most=8, cooldown_s=COOLDOWN_S, replicas=replicas)


@pytest.mark.parametrize(
    ("lag", "pending", "replicas"), [(0, 0, 0), (1, 0, 1), (0, 1, 1), (5, 0, 2), (3, 9, 3), (400, 0, 4)]
)
def test_larger_trigger_decides(lag: int, pending: int, replicas: int) -> None:
    assert scaler().decide(lag, pending, at_s=0.0) == replicas


def test_growth_is_bounded_by_steps() -> None:
    growing = scaler()
    assert [growing.decide(400, 0, at_s=at) for at in (0.0, 1.0, 2.0)] == [4, 8, 8]


def test_short_lull_takes_nothing_away() -> None:
    scaled = scaler(replicas=3)
    assert scaled.decide(12, 0, at_s=10.0) == 3
    assert scaled.decide(0, 0, at_s=10.0 + COOLDOWN_S - 0.1) == 3
    assert scaled.decide(12, 0, at_s=15.0) == 3
    assert scaled.decide(0, 0, at_s=15.0 + COOLDOWN_S - 0.1) == 3
    assert scaled.decide(0, 0, at_s=15.0 + COOLDOWN_S) == 0


def test_pending_alone_keeps_workers() -> None:
    scaled = scaler(replicas=2)
    assert [scaled.decide(0, 8, at_s=COOLDOWN_S * turn) for turn in range(5)] == [2] * 5


@given(st.lists(st.tuples(COUNTS, COUNTS, st.floats(0.1, 30.0)), max_size=30))
def test_steps_keep_their_bounds(course: list[tuple[int, int, float]]) -> None:
    scaled, at_s = scaler(), 0.0
    for lag, pending, pause_s in course:
        before, at_s = scaled.replicas, at_s + pause_s
        after = scaled.decide(lag, pending, at_s=at_s)
        assert 0 <= after <= min(8, max(before * 2, before + 4))
        assert after > 0 or lag + pending == 0, "work is there and nobody is to do it"
    scaled.decide(0, 0, at_s=at_s + COOLDOWN_S)
    assert scaled.decide(0, 0, at_s=at_s + 3 * COOLDOWN_S) == 0
