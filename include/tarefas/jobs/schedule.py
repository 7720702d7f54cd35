"""The due times of a job: cron expressions in a time zone, and the policy for missed times. Pure functions.

A due time is an instant in UTC. The expression is in local time of the time zone. When the clock changes, the rule is that
of cron(8) on Debian:

- An expression that matches in every hour (`*/15 * * * *`) is due at each minute whose local time matches: never at skipped
  local times, and twice at repeated ones.
- Any other expression (`30 2 * * *`, `0 */2 * * *`) is due once for each local time that matches: for a skipped one at the
  moment of the change (once, if several are skipped), for a repeated one the first time.

This holds for changes of any length, such as half an hour in Lord Howe or a whole day in Apia.

croniter finds the next matching time on a clock that never changes; the arithmetic of zones is here. All decisions about
missed times use `Schedule.after`, and so the same series.
"""

from __future__ import annotations

import re
from bisect import bisect
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from croniter import CroniterError, croniter

from include.conventions import zones

LONGEST_CRON = 200
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
FIELDS = 5
# croniter's letters for random (R) and hashed (H) times. A random time would be different at each evaluation.
BY_CHANCE = re.compile(r"(?<![a-z])[rh](?![a-z])", re.IGNORECASE)
WRITE_CRON = "write five fields, minute hour day month weekday, like '30 8 * * mon-fri'"


class ScheduleError(ValueError):
    """A wrong cron expression or time zone. The message names it and what would be right."""


class Missed(StrEnum):
    """The policy for missed due times."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


@dataclass(frozen=True)
class Decision:
    """Start the run for `start`, unless it is None. `then` is the next due time."""

    start: datetime | None
    then: datetime


class Schedule:
    """The due times of a cron expression in a time zone."""

    def __init__(self, cron: str, timezone: str) -> None:
        """Raise ScheduleError for a wrong expression or zone, and for an expression that is never due."""
        zone = zones.find(timezone)
        if zone is None:
            raise ScheduleError(
                f"time zone {timezone!r} is not known; write it like America/Sao_Paulo or UTC"
            )
        self.zone = zone
        self.cron = _checked(cron)
        hours = set(croniter(self.cron).expanded[1])
        self._every_hour = hours == {"*"} or hours == set(range(24))
        self.after(datetime(2026, 1, 1, tzinfo=UTC))

    def after(self, instant: datetime) -> datetime:
        """Return the first due time after `instant`, in UTC. Raises ScheduleError if there is none."""
        instant = instant.astimezone(UTC)
        try:
            return self._evenly(instant) if self._every_hour else self._once(instant)
        except (CroniterError, OverflowError, ValueError) as error:
            raise ScheduleError(f"cron {self.cron!r} never comes: {error}") from None

    def _evenly(self, instant: datetime) -> datetime:
        """Return the next due time of an expression that matches in every hour."""
        local = instant + self._offset(instant)
        while True:
            offset = self._offset(instant)
            found = self._matched(local) - offset
            change = self._change(instant, found)
            if change is None:
                return found
            # Beyond the change, the clock shows other times. Search again from the first one.
            instant = change
            local = change + self._offset(change) - SECOND

    def _once(self, instant: datetime) -> datetime:
        """Return the next due time of an expression that names hours."""
        local = instant + self._offset(instant)
        while True:
            local = self._matched(local)
            before, after = (_offset_of(local.replace(tzinfo=self.zone, fold=fold)) for fold in (0, 1))
            found = local - before
            if before < after:
                # Skipped. The change is between the two instants that the two offsets give.
                found = self._change(local - after, found) or found
            # Earlier instants are those of repeated local times.
            if found > instant:
                return found

    def _matched(self, local: datetime) -> datetime:
        """Return the next matching time, on a clock that never changes."""
        following: datetime = croniter(self.cron, local, ret_type=datetime).get_next()
        return following

    def _offset(self, instant: datetime) -> timedelta:
        return _offset_of(instant.astimezone(self.zone))

    def _change(self, start: datetime, end: datetime) -> datetime | None:
        """Return the first instant in (start, end] at which the offset differs from that at `start`, or None.

        Searches day by day: no zone changes its offset twice within a day.
        """
        offset = self._offset(start)
        while start < end:
            later = min(start + DAY, end)
            if self._offset(later) != offset:
                first, last = int(start.timestamp()), int(later.timestamp())
                seconds = range(first, last + 1)
                at = bisect(seconds, False, key=lambda one: self._offset(_instant(one)) != offset)
                return _instant(seconds[at])
            start = later
        return None

    def last(self, instant: datetime, since: datetime) -> datetime:
        """Return the last due time up to `instant`; `since`, an earlier due time, if there is no later one."""
        window = timedelta(minutes=1)
        # Double the window each time, so that the cost does not grow with the number of due times.
        while (found := self.after(max(instant - window, since))) > instant:
            if instant - window <= since:
                return since
            window *= 2
        while (following := self.after(found)) <= instant:
            found = following
        return found


@lru_cache(maxsize=4096)
def load(cron: str, timezone: str) -> Schedule:
    """Return the Schedule from a cache: parsing the expression is most of the work."""
    return Schedule(cron, timezone)


def decide(schedule: Schedule, due: datetime, now: datetime, missed: Missed, grace: timedelta) -> Decision:
    """Return the next step for a job whose first open due time is `due`, not later than `now`.

    Due times are handled one by one, the oldest first. A due time not older than `grace` is on time: its run starts. Of late
    due times

    - `all` starts each;
    - `once` starts one for all of them, the newest;
    - `skip` starts none.

    Leaving out due times is a decision without a start, which the caller must store before the next decision.
    """
    if missed is Missed.ALL or now - due <= grace:
        return Decision(due, schedule.after(due))
    if missed is Missed.SKIP:
        # A due time exactly `grace` old is not late.
        return Decision(None, schedule.after(now - grace - timedelta(microseconds=1)))
    newest = schedule.last(now, since=due)
    return Decision(due, schedule.after(due)) if newest == due else Decision(None, newest)


def _checked(cron: str) -> str:
    if len(cron) > LONGEST_CRON:
        raise ScheduleError(f"the cron expression has {len(cron)} characters; {LONGEST_CRON} are the most")
    if BY_CHANCE.search(cron):
        raise ScheduleError(f"cron {cron!r}: R and H are times by chance; {WRITE_CRON}")
    fields = cron.split()
    if len(fields) != FIELDS and not cron.startswith("@"):
        reason = "jobs are due by the minute, not by the second; " if len(fields) > FIELDS else ""
        raise ScheduleError(f"cron {cron!r} has {len(fields)} fields: {reason}{WRITE_CRON}")
    try:
        croniter(cron)
    except (CroniterError, ValueError) as error:
        raise ScheduleError(f"cron {cron!r}: {error}; {WRITE_CRON}") from None
    return cron


def _offset_of(local: datetime) -> timedelta:
    offset = local.utcoffset()
    assert offset is not None  # noqa: S101 - a time with a zone has one
    return offset


def _instant(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
