"""Due times around every kind of change that the clocks of all time zones have made or will make, from 1973 to 2037.

A kind is: by how much the clock changes, and at which time of the day. Changes by an hour at the usual hours are many; the
others are by 15, 20, 30, 40 or 45 minutes, by two, three or seven hours, or by a whole day.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from include.tarefas.jobs.schedule import Schedule

FIRST, LAST = datetime(1973, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=12)
DAY, MINUTE, SECOND = timedelta(days=1), timedelta(minutes=1), timedelta(seconds=1)
MINUTES = {
    "*/7": range(0, 60, 7),
    "0": [0],
    "30": [30],
    "0,45": [0, 45],
    "17-59/14": range(17, 60, 14),
}
HOURS = {
    "*": range(24),
    "*/2": range(0, 24, 2),
    "1-23/3": range(1, 24, 3),
    "0": [0],
    "2": [2],
    "23": [23],
    "0-22": range(23),
}
# How days are named: by weekday, by day of the month, by month, and by any mix of them.
DAYS = (
    "* * *",
    "{day} * *",
    "{after} * *",
    "* {month} *",
    "* * {weekday}",
    "{day} {month} {weekday}",
    "* * 1-5",
)


def offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    found = instant.astimezone(zone).utcoffset()
    assert found is not None
    return found


def changes(zone: ZoneInfo) -> list[datetime]:
    """The instants from which the clock shows another time, looked for every 12 hours."""
    found, instant, before = [], FIRST, offset(zone, FIRST)
    while instant < LAST:
        later = instant + STEP
        if (after := offset(zone, later)) != before:
            low, high = instant, later
            while high - low > SECOND:
                middle = low + timedelta(seconds=(high - low) // SECOND // 2)
                low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
            found.append(high)
        instant, before = later, after
    return found


def kinds() -> list[tuple[str, datetime]]:
    """One change of each kind, with a zone that made it."""
    found: dict[tuple[timedelta, time], tuple[str, datetime]] = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for change in changes(zone):
            before = offset(zone, change - SECOND)
            found.setdefault((offset(zone, change) - before, (change + before).time()), (name, change))
    return list(found.values())


def named(days: str, local: datetime) -> str:
    """The days of an expression, in words of the day on which the clock changes."""
    after = local + DAY
    return days.format(day=local.day, after=after.day, month=local.month, weekday=local.isoweekday() % 7)


def is_day(days: str, local: datetime) -> bool:
    day, month, weekday = days.split()
    if month != "*" and int(month) != local.month:
        return False
    low, _, high = weekday.partition("-")
    by_weekday = weekday != "*" and int(low) <= local.isoweekday() % 7 <= int(high or low)
    if day == "*":
        return weekday == "*" or by_weekday
    # Two conditions on days: either is enough, as in cron.
    return int(day) == local.day or by_weekday


def walls(zone: ZoneInfo, start: datetime, end: datetime) -> list[tuple[datetime, datetime, list[datetime]]]:
    """Each minute with what the clock shows, and what it shows for the first time or passes over."""
    found, highest = [], None
    instant = start
    while instant <= end:
        local = instant.astimezone(zone).replace(tzinfo=None)
        passed = []
        one = local if highest is None else highest + MINUTE
        while one <= local:
            passed.append(one)
            one += MINUTE
        highest = local if highest is None else max(highest, local)
        found.append((instant, local, passed))
        instant += MINUTE
    return found


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_form_at_every_kind_of_change_is_due_as_the_clock_on_the_wall_says() -> None:
    wrong, asked = [], 0
    for name, change in kinds():
        zone = ZoneInfo(name)
        local = (change - SECOND + offset(zone, change - SECOND)).replace(tzinfo=None)
        by = abs(offset(zone, change) - offset(zone, change - SECOND))
        start, end = change - timedelta(hours=3), change + by + timedelta(hours=3)
        minutes = walls(zone, change - timedelta(days=2), end)
        for form in {named(days, local) for days in DAYS}:
            # Of each minute on these days: the time that is shown, and the times of the day that are new.
            shown = [
                (
                    instant,
                    wall.time() if is_day(form, wall) else None,
                    {p.time() for p in passed if is_day(form, p)},
                )
                for instant, wall, passed in minutes
                if instant > start
            ]
            for (minute, of_minute), (hour, of_hour) in itertools.product(MINUTES.items(), HOURS.items()):
                times = {time(one, another) for one in of_hour for another in of_minute}
                each = len(of_hour) == 24
                expected = [i for i, wall, new in shown if (wall in times if each else new & times)]
                schedule, found, instant = Schedule(f"{minute} {hour} {form}", name), [], start
                while (instant := schedule.after(instant)) <= end:
                    found.append(instant)
                asked += 1
                if found != expected:
                    wrong.append(
                        f"{schedule.cron} in {name} at {change}: {sorted({*found} ^ {*expected})[:3]}"
                    )
    assert asked > 10_000
    assert not wrong, f"{len(wrong)} of {asked} are wrong:\n" + "\n".join(wrong[:50])
