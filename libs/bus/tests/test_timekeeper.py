"""When a message is due, from what its publisher says."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_bus import Due, NotInMap
from archive_bus._timekeeper import due_of
from archive_contracts.streams import CHAT_REQUESTS, CONTROL


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365)))
def test_delay_is_never_cut_short(delay: timedelta) -> None:
    due = due_of(CHAT_REQUESTS, delay=delay, at=None)
    assert due
    assert delay <= timedelta(milliseconds=due.delay_ms) < delay + timedelta(milliseconds=2)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 - zones are drawn
def test_time_is_never_too_early(at: datetime) -> None:
    due = due_of(CHAT_REQUESTS, delay=None, at=at)
    assert due
    assert at.timestamp() <= due.at_ms / 1000 < at.timestamp() + 0.002


def test_undelayed_message_has_no_time() -> None:
    assert due_of(CONTROL, delay=None, at=None) is None


def test_negative_delay_is_none() -> None:
    assert due_of(CHAT_REQUESTS, delay=timedelta(seconds=-5), at=None) == Due()


def test_senseless_times_are_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        due_of(CHAT_REQUESTS, delay=None, at=datetime(2030, 1, 1))  # noqa: DTZ001 - the point
    with pytest.raises(ValueError, match="not both"):
        due_of(CHAT_REQUESTS, delay=timedelta(1), at=datetime.now(UTC))
    with pytest.raises(NotInMap):
        due_of(CONTROL, delay=timedelta(1), at=None)
