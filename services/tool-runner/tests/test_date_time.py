from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_tool_runner.domain.date_time import add, date_time_tools, parse_moment
from archive_tool_runner.domain.errors import ToolFailed
from archive_tool_runner.domain.zones import find_zone

NOW = datetime(2025, 11, 21, 3, 0, tzinfo=UTC)
TOOLS = {tool.name: tool for tool in date_time_tools(lambda: NOW)}


def run(tool: str, **arguments: object) -> Any:
    return TOOLS[tool].call(arguments)


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "2025-11-21T03:00:00+00:00"),
        ("Europe/Berlin", "2025-11-21T04:00:00+01:00"),
        ("tokyo", "2025-11-21T12:00:00+09:00"),
        ("new york", "2025-11-20T22:00:00-05:00"),
        ("PST", "2025-11-20T19:00:00-08:00"),
    ],
)
def test_reads_clock_in_zone(zone: str, shown: str) -> None:
    assert run("current_time", zone=zone)["iso"] == shown


def test_unknown_zone_offers_nearest() -> None:
    with pytest.raises(ToolFailed, match="Asia/Tokyo"):
        find_zone("Toky")
    with pytest.raises(ToolFailed, match="Europe/Berlin"):
        find_zone("../../../etc/passwd")


def test_converts_between_zones() -> None:
    shown = run("convert_time", date_time="2025-07-01 09:30", from_zone="London", to_zone="Kolkata")
    assert shown["iso"] == "2025-07-01T14:00:00+05:30"
    assert "note" not in shown


@pytest.mark.parametrize(
    ("wall_time", "note"), [("2025-03-30T02:30", "does not exist"), ("2025-10-26T02:30", "came twice")]
)
def test_odd_wall_times_are_noted(wall_time: str, note: str) -> None:
    shown = run("convert_time", date_time=wall_time, from_zone="Berlin", to_zone="UTC")
    assert note in shown["note"]


@pytest.mark.parametrize(
    ("start", "amount", "unit", "end"),
    [
        ("2024-01-31", 1, "months", "2024-02-29T00:00:00+01:00"),
        ("2024-02-29", 1, "years", "2025-02-28T00:00:00+01:00"),
        ("2024-03-01", -1, "days", "2024-02-29T00:00:00+01:00"),
        ("2025-03-29T12:00", 1, "days", "2025-03-30T12:00:00+02:00"),
        ("2025-03-29T12:00", 24, "hours", "2025-03-30T13:00:00+02:00"),
        ("2025-03-30T01:59", 1, "minutes", "2025-03-30T03:00:00+02:00"),
        ("2025-01-01", 2, "weeks", "2025-01-15T00:00:00+01:00"),
        ("2025-01-31", -14, "months", "2023-11-30T00:00:00+01:00"),
    ],
)
def test_adds_by_calendar_or_clock(start: str, amount: int, unit: str, end: str) -> None:
    assert run("add_to_date", date=start, amount=amount, unit=unit, zone="Europe/Berlin")["iso"] == end


@pytest.mark.parametrize(("amount", "unit"), [(10**10, "years"), (10**10, "weeks"), (-3000, "years"), (10**9, "hours")])
def test_leaving_the_calendar_fails(amount: int, unit: str) -> None:
    with pytest.raises(ToolFailed, match="outside"):
        run("add_to_date", date="2025-01-01", amount=amount, unit=unit)


def test_difference_in_days_and_calendar() -> None:
    assert run("days_between", start="2024-02-28", end="March 1st, 2025") == {
        "days": 367,
        "years_months_days": "1 years, 0 months, 1 days",
    }
    assert run("days_between", start="2025-03-15", end="2025-01-31")["years_months_days"].startswith("0 years, 1 mon")
    assert run("days_between", start="2024-02-28T10:00", end="2024-02-28T12:30Z")["hours"] == 2.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2000-01-01", "Saturday"),
        ("29 February 2024", "Thursday"),
        ("Feb 29 2024", "Thursday"),
        ("31.12.1999", "Friday"),
        ("today", "Friday"),
        ("tomorrow", "Saturday"),
        ("now", "Friday"),
    ],
)
def test_weekday_of_written_dates(text: str, expected: str) -> None:
    assert run("weekday", date=text) == expected


@pytest.mark.parametrize("text", ["", "soon", "2023-02-29", "0001-01-01", "9999-12-31T23:59"])
def test_unusable_dates_fail(text: str) -> None:
    with pytest.raises(ToolFailed):
        parse_moment(text, zone=UTC, now=NOW)


@given(st.dates(date(100, 1, 1), date(9000, 1, 1)), st.integers(-10_000, 10_000))
def test_adding_days_matches_difference(day: date, amount: int) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert add(start, amount, "days") - start == timedelta(days=amount)
