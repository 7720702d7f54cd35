"""Due times, held against a clock that is read minute by minute and a matcher of fields that shares no code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from include.automations.jobs.schedule import Decision, Missed, Schedule, ScheduleError, decide

MINUTE = timedelta(minutes=1)
GRACE = timedelta(minutes=5)
# Each with clocks that were changed in one of these days: by an hour, by half an hour, by a whole day, never.
ZONES = {
    "America/New_York": [datetime(2026, 3, 8), datetime(2026, 11, 1)],
    "America/Sao_Paulo": [datetime(2018, 11, 4), datetime(2019, 2, 16), datetime(2026, 11, 21)],
    "Australia/Lord_Howe": [datetime(2026, 4, 4), datetime(2026, 10, 3)],
    "Europe/Lisbon": [datetime(2026, 3, 29), datetime(2026, 10, 25)],
    "Pacific/Apia": [datetime(2011, 12, 30)],
    "UTC": [datetime(2026, 2, 28)],
}
NOW = datetime(2026, 11, 21, 14, 30, 20, tzinfo=UTC)


def matches(field: str, value: int) -> bool:
    """Whether a field of the generated kind (`*`, `*/n`, `a,b`, `a-b`) holds a value."""
    if field.startswith("*"):
        return value % int(field.partition("/")[2] or 1) == 0
    if "-" in field:
        low, high = map(int, field.split("-"))
        return low <= value <= high
    return value in map(int, field.split(","))


def holds(cron: str, local: datetime) -> bool:
    minute, hour, _, _, weekday = cron.split()
    return (
        matches(minute, local.minute)
        and matches(hour, local.hour)
        and (weekday == "*" or matches(weekday, local.isoweekday() % 7))
    )


@cache
def every_hour(hours: str) -> bool:
    return all(matches(hours, hour) for hour in range(24))


def expected(cron: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Every due time in (start, end], found by looking at the clock on the wall once a minute."""
    found, highest = [], None
    instant = start - timedelta(days=2)
    while instant <= end:
        local = instant.astimezone(zone).replace(tzinfo=None)
        if every_hour(cron.split()[1]):
            due = holds(cron, local)
        else:
            # What the clock shows for the first time, or passes over.
            passed = local if highest is None else highest + MINUTE
            due = False
            while passed <= local:
                due = due or holds(cron, passed)
                passed += MINUTE
        highest = local if highest is None else max(highest, local)
        if due and instant > start:
            found.append(instant)
        instant += MINUTE
    return found


minutes = st.sampled_from(["*", "*/7", "*/15", "0", "30", "0,30", "0,45", "10-20"])
hours = st.sampled_from(["*", "*/2", "*/5", "0", "1", "2", "1,2,3", "0-22", "23", "1-3"])
weekdays = st.sampled_from(["*", "*", "0", "1-5", "6"])
crons = st.builds("{} {} * * {}".format, minutes, hours, weekdays)
nights = st.sampled_from([(zone, day) for zone, days in ZONES.items() for day in days])


@settings(deadline=None, max_examples=120)
@example(cron="30 2 * * *", night=("America/New_York", datetime(2026, 3, 8)), offset=300)
@example(cron="30 1 * * *", night=("America/New_York", datetime(2026, 11, 1)), offset=300)
@example(cron="*/15 * * * *", night=("Australia/Lord_Howe", datetime(2026, 4, 4)), offset=800)
@example(cron="0 12 * * *", night=("Pacific/Apia", datetime(2011, 12, 30)), offset=0)
@given(cron=crons, night=nights, offset=st.integers(-900, 1500))
def test_due_times_are_those_of_the_clock_on_the_wall(
    cron: str, night: tuple[str, datetime], offset: int
) -> None:
    zone, day = night
    start = day.replace(tzinfo=UTC) + offset * MINUTE
    end = start + timedelta(hours=30)
    schedule, found = Schedule(cron, zone), []
    instant = start
    while (instant := schedule.after(instant)) <= end:
        found.append(instant)
    assert found == expected(cron, ZoneInfo(zone), start, end)


@settings(deadline=None, max_examples=60)
@given(cron=crons, night=nights, seconds=st.integers(0, 100_000))
def test_where_one_begins_to_look_does_not_matter(
    cron: str, night: tuple[str, datetime], seconds: int
) -> None:
    schedule = Schedule(cron, night[0])
    start = night[1].replace(tzinfo=UTC)
    instant = start + timedelta(seconds=seconds)
    following = schedule.after(start)
    while following <= instant:
        following = schedule.after(following)
    assert schedule.after(instant) == following
