"""Date and time tools. The clock is passed in: nothing here asks the machine for the time."""

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, JsonValue

from archive_tool_runner.domain.errors import ToolFailed
from archive_tool_runner.domain.tool import Arguments, Tool
from archive_tool_runner.domain.zones import find_zone

Clock = Callable[[], datetime]
"""The present moment, with a zone."""

Unit = Literal["seconds", "minutes", "hours", "days", "weeks", "months", "years"]

_WHEN = "ISO such as 2024-05-31 or 2024-05-31T18:30, or today, tomorrow, yesterday, now"
_WRITTEN = ("%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y", "%d.%m.%Y", "%Y/%m/%d")
FIRST_YEAR, LAST_YEAR = 2, 9998  # a year short of what Python holds, so that no zone leads out of it
_RELATIVE_DAYS = {"today": 0, "tomorrow": 1, "yesterday": -1}
_FIXED_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}


class CurrentTimeArguments(Arguments):
    """Where to read the clock."""

    zone: str = Field(default="UTC", description="time zone, e.g. Europe/Berlin or Tokyo")


class ConvertTimeArguments(Arguments):
    """A wall time and two zones."""

    date_time: str = Field(description=_WHEN)
    from_zone: str = Field(description="the zone that date_time is in")
    to_zone: str = Field(description="the zone to show it in")


class AddToDateArguments(Arguments):
    """A date and how far to go from it."""

    date: str = Field(description=_WHEN)
    amount: int = Field(description="negative goes back", ge=-10_000_000_000, le=10_000_000_000)
    unit: Unit
    zone: str = Field(default="UTC", description="time zone of the date")


class DaysBetweenArguments(Arguments):
    """Two dates."""

    start: str = Field(description=_WHEN)
    end: str = Field(description=_WHEN)


class WeekdayArguments(Arguments):
    """One date."""

    date: str = Field(description=_WHEN)


def date_time_tools(clock: Clock) -> tuple[Tool[Any], ...]:
    """The date and time tools, reading this clock."""
    return (
        Tool(
            name="current_time",
            description="The date, time and weekday now in a time zone.",
            arguments=CurrentTimeArguments,
            run=lambda asked: _described(clock().astimezone(find_zone(asked.zone))),
        ),
        Tool(
            name="convert_time",
            description="Shows a time of one time zone in another.",
            arguments=ConvertTimeArguments,
            run=lambda asked: _converted(asked, clock()),
        ),
        Tool(
            name="add_to_date",
            description="Adds a duration to a date or time; a negative amount subtracts.",
            arguments=AddToDateArguments,
            run=lambda asked: _added(asked, clock()),
        ),
        Tool(
            name="days_between",
            description="The time from one date to another, in days and in years, months and days.",
            arguments=DaysBetweenArguments,
            run=lambda asked: _between(asked, clock()),
        ),
        Tool(
            name="weekday",
            description="The day of the week of a date.",
            arguments=WeekdayArguments,
            run=lambda asked: f"{parse_moment(asked.date, zone=UTC, now=clock()):%A}",
        ),
    )


def _converted(asked: ConvertTimeArguments, now: datetime) -> JsonValue:
    source, target = find_zone(asked.from_zone), find_zone(asked.to_zone)
    moment = parse_moment(asked.date_time, zone=source, now=now)
    shown = _described(_shifted(moment, timedelta(0)).astimezone(target))
    note = _odd_wall_time(moment)
    return {**shown, "note": note} if note else shown


def _added(asked: AddToDateArguments, now: datetime) -> JsonValue:
    start = parse_moment(asked.date, zone=find_zone(asked.zone), now=now)
    return _described(add(start, asked.amount, asked.unit))


def _between(asked: DaysBetweenArguments, now: datetime) -> JsonValue:
    start, end = (parse_moment(text, zone=UTC, now=now) for text in (asked.start, asked.end))
    return _difference(start, end)


def parse_moment(text: str, *, zone: tzinfo, now: datetime) -> datetime:
    """A moment with a zone from ISO 8601, a few written forms, or a word such as tomorrow.

    An offset in the text wins over `zone`; a date alone means its midnight.

    Raises:
        ToolFailed: the text is no date.
    """
    given = text.strip()
    word = given.lower()
    if word == "now":
        return now.astimezone(zone)
    if word in _RELATIVE_DAYS:
        day = now.astimezone(zone).date() + timedelta(days=_RELATIVE_DAYS[word])
        return datetime.combine(day, time(), zone)
    parsed = _iso(given) or _written(given)
    if parsed is None:
        raise ToolFailed(f"{given[:60]!r} is no date or time.", next_step="Write it as 2024-05-31 or 2024-05-31T18:30.")
    return _in_range(parsed if parsed.tzinfo else parsed.replace(tzinfo=zone))


def add(moment: datetime, amount: int, unit: Unit) -> datetime:
    """Move a moment: hours and less by elapsed time, days and more by the calendar.

    A day later is the same wall time also over a change of the clocks; a month after 31 January is the last of
    February.

    Raises:
        ToolFailed: the result is outside the years 2 to 9998.
    """
    try:
        if unit in _FIXED_SECONDS:
            return _in_range(_shifted(moment, timedelta(seconds=amount * _FIXED_SECONDS[unit])))
        if unit in {"days", "weeks"}:
            return _in_range(moment + timedelta(days=amount * (7 if unit == "weeks" else 1)))
        return _in_range(_add_months(moment, amount * (12 if unit == "years" else 1)))
    except (OverflowError, ValueError) as error:
        raise _out_of_range() from error


def _in_range(moment: datetime) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise _out_of_range()
    return moment


def _out_of_range() -> ToolFailed:
    return ToolFailed(f"That is outside the years {FIRST_YEAR} to {LAST_YEAR}.", next_step="Use a nearer date.")


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _written(text: str) -> datetime | None:
    plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b|,", "", text, flags=re.IGNORECASE)
    for form in _WRITTEN:
        try:
            return datetime.strptime(plain, form)  # noqa: DTZ007 - the caller adds the zone it means
        except ValueError:
            continue
    return None


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Elapsed time; Python itself adds to the wall clock."""
    return (moment.astimezone(UTC) + by).astimezone(moment.tzinfo)


def _add_months(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))


def _described(moment: datetime) -> dict[str, JsonValue]:
    zone = moment.tzinfo.key if isinstance(moment.tzinfo, ZoneInfo) else str(moment.tzinfo)
    return {
        "date": f"{moment:%Y-%m-%d}",
        "time": f"{moment:%H:%M:%S}",
        "weekday": f"{moment:%A}",
        "zone": zone,
        "iso": moment.isoformat(timespec="seconds"),
    }


def _odd_wall_time(moment: datetime) -> str | None:
    if moment.tzinfo is None or moment.utcoffset() == moment.replace(fold=1).utcoffset():
        return None
    if _shifted(moment, timedelta(0)).replace(tzinfo=None) != moment.replace(tzinfo=None):
        return "The clocks went forward past that time, so it does not exist there."
    return "The clocks went back then, so that time came twice; the first is meant."


def _difference(start: datetime, end: datetime) -> dict[str, JsonValue]:
    elapsed = end - start
    first, last = min(start.date(), end.date()), max(start.date(), end.date())
    years, months, days = _calendar_difference(first, last)
    result: dict[str, JsonValue] = {
        "days": (end.date() - start.date()).days,
        "years_months_days": f"{years} years, {months} months, {days} days",
    }
    if elapsed % timedelta(days=1):
        result["hours"] = round(elapsed / timedelta(hours=1), 4)
    return result


def _calendar_difference(first: date, last: date) -> tuple[int, int, int]:
    months = (last.year - first.year) * 12 + last.month - first.month
    anchor = _add_months(datetime.combine(first, time()), months).date()
    if anchor > last:
        months -= 1
        anchor = _add_months(datetime.combine(first, time()), months).date()
    return months // 12, months % 12, (last - anchor).days
