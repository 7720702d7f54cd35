"""Due times, held against a clock that is read minute by minute and a matcher of fields that shares no code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from include.tarefas.jobs.schedule import Decision, Missed, Schedule, ScheduleError, decide

MINUTE = timedelta(minutes=1)
GRACE = timedelta(minutes=5)
# Each with clocks that were changed in one of these days: by an hour, half an hour, two hours, a whole day, never.
ZONES = {
    "America/New_York": [datetime(2026, 3, 8), datetime(2026, 11, 1)],
    "America/Sao_Paulo": [datetime(2018, 11, 4), datetime(2019, 2, 16), datetime(2026, 11, 21)],
    "Australia/Lord_Howe": [datetime(2026, 4, 4), datetime(2026, 10, 3)],
    "Europe/Lisbon": [datetime(2026, 3, 29), datetime(2026, 10, 25)],
    "Antarctica/Troll": [datetime(2026, 3, 29), datetime(2026, 10, 25)],
    "Pacific/Apia": [datetime(2011, 12, 30)],
    "Pacific/Kwajalein": [datetime(1993, 8, 21)],
    "Asia/Pyongyang": [datetime(2015, 8, 14), datetime(2018, 5, 4)],
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
hours = st.sampled_from(["*", "*/2", "*/5", "0", "1", "2", "1,2,3", "0-22", "0-23", "23", "1-3"])
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


# Each hour field that may meet a change, with each way to write minutes that does not divide what the change leaves.
@pytest.mark.parametrize("hours", ["*", "*/2", "2", "0-22"])
@pytest.mark.parametrize("minutes", ["*/7", "0,45"])
@pytest.mark.parametrize(
    ("zone", "day"),
    [(zone, day) for zone, days in ZONES.items() for day in days],
    ids=lambda each: str(each)[:17],
)
def test_no_change_of_a_clock_loses_or_doubles_a_due_time(
    zone: str, day: datetime, minutes: str, hours: str
) -> None:
    cron = f"{minutes} {hours} * * *"
    start = day.replace(tzinfo=UTC) - timedelta(hours=2)
    end = start + timedelta(hours=32)
    schedule, found = Schedule(cron, zone), []
    instant = start
    while (instant := schedule.after(instant)) <= end:
        found.append(instant)
    assert found == expected(cron, ZoneInfo(zone), start, end)


def test_half_an_hour_more_is_gone_through_to_the_minute() -> None:
    schedule = Schedule("*/7 * * * *", "Australia/Lord_Howe")
    instant, shown = datetime(2026, 4, 4, 14, 50, tzinfo=UTC), []
    for _ in range(7):
        instant = schedule.after(instant)
        shown.append(f"{instant:%H:%M} {instant.astimezone(ZoneInfo('Australia/Lord_Howe')):%H:%M}")
    assert shown == [
        *("14:56 01:56", "15:05 01:35", "15:12 01:42", "15:19 01:49"),
        *("15:26 01:56", "15:30 02:00", "15:37 02:07"),
    ]


def test_a_change_between_two_due_times_a_year_apart_is_seen() -> None:
    # The last hour of that day came twice.
    schedule = Schedule("30 * 16 2 *", "America/Sao_Paulo")
    once = datetime(2019, 2, 17, 1, 30, tzinfo=UTC)
    again = schedule.after(once)
    assert again == once + timedelta(hours=1)
    assert schedule.after(again) == datetime(2020, 2, 16, 3, 30, tzinfo=UTC)


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


def acted(cron: str, due: datetime, now: datetime, missed: Missed) -> tuple[list[datetime], datetime]:
    """The starts of a job until none is due any more, and the due time after them."""
    schedule, starts = Schedule(cron, "UTC"), []
    while due <= now:
        decision = decide(schedule, due, now, missed, GRACE)
        assert decision.then > due or decision.start == due
        starts += [decision.start] if decision.start else []
        due = decision.then
    return starts, due


@settings(deadline=None, max_examples=100)
@given(cron=crons, outage=st.integers(0, 3 * 24 * 60), seconds=st.integers(0, 59))
def test_each_policy_starts_what_it_says(cron: str, outage: int, seconds: int) -> None:
    now = datetime(2026, 5, 10, 12, 0, seconds, tzinfo=UTC)
    first = Schedule(cron, "UTC").after(now - outage * MINUTE)
    times = expected(cron, ZoneInfo("UTC"), first - MINUTE, now)
    fresh = [time for time in times if now - time <= GRACE]
    following = Schedule(cron, "UTC").after(now)
    assert acted(cron, first, now, Missed.ALL) == (times, following)
    assert acted(cron, first, now, Missed.SKIP) == (fresh, following)
    once = times[-1:] if len(fresh) < len(times) else fresh
    # The newest may be the first of those that are not late; nothing else of them is left out then.
    assert acted(cron, first, now, Missed.ONCE) == (once, following)


@settings(deadline=None, max_examples=60)
@given(
    cron=crons, outage=st.integers(6, 2000), missed=st.sampled_from(list(Missed)), later=st.integers(0, 90)
)
def test_a_decision_that_is_repeated_after_a_crash_doubles_and_loses_nothing(
    cron: str, outage: int, missed: Missed, later: int
) -> None:
    schedule = Schedule(cron, "UTC")
    due = schedule.after(NOW - outage * MINUTE)
    if due > NOW:
        return
    decision = decide(schedule, due, NOW, missed, GRACE)
    if decision.start is None:
        # Written down, and found by whoever comes next, at whatever time: what was left out stays out.
        again = acted(cron, decision.then, NOW + later * MINUTE, missed)[0]
        assert all(start >= decision.then for start in again)
        return
    # Started, and not written down: a run of that id is there. Who repeats starts this id or a later one.
    again = acted(cron, due, NOW + later * MINUTE, missed)[0]
    assert all(start >= decision.start for start in again)
    assert len(set(again)) == len(again)
    if missed is Missed.ALL:
        assert again[0] == decision.start


def test_thousands_of_missed_times_cost_no_more_than_few() -> None:
    schedule, asked = Schedule("* * * * *", "America/Sao_Paulo"), 0

    class Counting(Schedule):
        def after(self, instant: datetime) -> datetime:
            nonlocal asked
            asked += 1
            return super().after(instant)

    counting = Counting(schedule.cron, "America/Sao_Paulo")
    for missed in (Missed.ONCE, Missed.SKIP):
        asked = 0
        decide(counting, schedule.after(NOW - timedelta(days=3650)), NOW, missed, GRACE)
        assert asked < 10


def test_a_first_due_time_that_is_none_of_the_schedule_is_kept() -> None:
    by_hand = NOW - timedelta(hours=1, seconds=7)
    assert decide(Schedule("0 0 1 1 *", "UTC"), by_hand, NOW, Missed.ONCE, GRACE) == Decision(
        by_hand, datetime(2027, 1, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("*/5 * * * * *", "has 6 fields: jobs are due by the minute, not by the second; write five fields"),
        ("* * * *", "has 4 fields: write five fields"),
        ("", "has 0 fields"),
        ("61 * * * *", "out of range; write five fields"),
        ("R R * * *", "R and H are times by chance"),
        ("0 H(0-7) * * *", "R and H are times by chance"),
        ("@reboot", "@reboot"),
        ("amanhã * * * *", "not acceptable"),
        ("0 0 30 2 *", "never comes"),
        ("*," * 150 + "* * * * *", "has 309 characters; 200 are the most"),
    ],
)
def test_an_expression_that_makes_no_sense_is_named(cron: str, said: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        Schedule(cron, "UTC")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "zone", ["Sao_Paulo", "America", "../UTC", "", "/etc/passwd", "Ação", "UTC\0", "a" * 999]
)
def test_a_zone_that_is_none_is_named(zone: str) -> None:
    with pytest.raises(ScheduleError, match="is not known; write it like America/Sao_Paulo or UTC"):
        Schedule("* * * * *", zone)


@pytest.mark.parametrize(
    "cron", ["@daily", "0 8 * * mon-fri", "0 0 l * *", "0 9 * * thu#3", "0 0 29 2 *", "15  6 * mar *"]
)
def test_other_ways_of_writing_are_taken(cron: str) -> None:
    assert Schedule(cron, "America/Sao_Paulo").after(NOW) > NOW
