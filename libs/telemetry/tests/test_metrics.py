"""What the page of metrics tells of values that were taken in."""

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import generate_latest

from archive_telemetry._metrics import MOST_UNSORTED, exposition, histogram

BUCKETS = (0.1, 1.0, 10.0)
VALUES = st.lists(st.one_of(st.sampled_from(BUCKETS), st.floats(0, 100, allow_subnormal=False)), max_size=20)


def told(page: bytes, name: str) -> dict[str, float]:
    rows = [line.rsplit(" ", 1) for line in page.decode().splitlines() if line.startswith(name)]
    return {row: round(float(value), 6) for row, value in rows if "_created" not in row}


@given(values=VALUES)
def test_values_are_told_as_prometheus_sorts_them(values: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    kind = type(histogram("archive_test_kind_seconds", "Kind.", buckets=BUCKETS))
    mine = kind("archive_test_seconds", "Test.", ["who"], buckets=BUCKETS, registry=ours).labels("a")
    plain = Histogram("archive_test_seconds", "Test.", ["who"], buckets=BUCKETS, registry=theirs).labels("a")
    for value in values:
        mine.observe(value)
        plain.observe(value)
    name = "archive_test_seconds"
    assert told(generate_latest(ours), name) == told(generate_latest(theirs), name)


def test_many_values_do_not_wait_for_a_reader() -> None:
    name = "archive_test_many_seconds"
    taken = histogram(name, "Many.", buckets=BUCKETS)
    for _ in range(MOST_UNSORTED * 2 + 1):
        taken.observe(0.5)
    rows = told(exposition()[1], name)
    assert rows[f"{name}_count"] == MOST_UNSORTED * 2 + 1
    assert math.isclose(rows[f"{name}_sum"], (MOST_UNSORTED * 2 + 1) * 0.5)
