from hypothesis import given
from hypothesis import strategies as st

from archive_cli.backoff import STEADY_S, Backoff, count_deaths

jitters = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(deaths=st.integers(min_value=1, max_value=10_000), jitter=jitters)
def test_delay_stays_within_bounds(deaths: int, jitter: float) -> None:
    backoff = Backoff(first_s=0.5, cap_s=30)
    assert 0.25 <= backoff.delay(deaths, jitter=jitter) <= 30


@given(deaths=st.integers(min_value=1, max_value=100), jitter=jitters)
def test_delay_grows_with_deaths(deaths: int, jitter: float) -> None:
    backoff = Backoff()
    assert backoff.delay(deaths, jitter=jitter) <= backoff.delay(deaths + 1, jitter=jitter)


def test_jitter_spreads_the_upper_half() -> None:
    backoff = Backoff(first_s=4, cap_s=30)
    assert backoff.delay(1, jitter=0) == 2
    assert backoff.delay(1, jitter=0.5) == 3


def test_long_life_forgives_deaths() -> None:
    assert count_deaths(7, lived_s=STEADY_S) == 1
    assert count_deaths(7, lived_s=STEADY_S - 1) == 8
