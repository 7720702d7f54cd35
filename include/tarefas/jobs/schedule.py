"""When a job is due: cron expressions in a time zone, and what becomes of times that were missed. Pure functions.

A due time is an instant, in UTC and whole minutes. What the expression says is the wall clock of the time zone, and
where that clock is put forward or back:

- a local time that never comes (02:30 in the night of spring) is due at the moment when the clock jumps over it;
- a local time that comes twice is due the first time;
- an expression that holds in every hour (`*/15 * * * *`) goes on evenly: no time in the gap, both of those that come
  twice.

The arithmetic is croniter's. `after` is the only thing that is asked of it, so that whatever is decided about missed
times rests on one and the same series.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

LONGEST_CRON = 200
FIELDS = 5
# croniter's own letters for "at random" and "by hash": the first would be another time at each look.
BY_CHANCE = re.compile(r"(?<![a-z])[rh](?![a-z])", re.IGNORECASE)
WRITE_CRON = "write five fields, minute hour day month weekday, like '30 8 * * mon-fri'"


class ScheduleError(ValueError):
    """A cron expression or a time zone that names no times; the message says which and what would be right."""


class Missed(StrEnum):
    """What to do with due times that nobody could keep."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


@dataclass(frozen=True)
class Decision:
    """Start the run of `start`, unless that is None; the next due time to look at is `then`."""

    start: datetime | None
    then: datetime


class Schedule:
    """The due times of a cron expression in a time zone."""

    def __init__(self, cron: str, timezone: str) -> None:
        """Raise ScheduleError for an expression or a zone that makes no sense, and for one that never comes."""
        self.zone = _zone(timezone)
        self.cron = _checked(cron)
        self._every_hour = croniter(self.cron).expanded[1] == ["*"]
        self.after(datetime(2026, 1, 1, tzinfo=UTC))

    def after(self, instant: datetime) -> datetime:
        """Return the first due time later than `instant`, in UTC. Raises ScheduleError when there is none."""
        try:
            times = croniter(self.cron, instant.astimezone(self.zone), ret_type=datetime)
            found = times.get_next()
            while not self._every_hour and _comes_again(found):
                found = times.get_next()
        except (CroniterError, OverflowError, ValueError) as error:
            raise ScheduleError(f"cron {self.cron!r} never comes: {error}") from None
        return found.astimezone(UTC)

    def last(self, instant: datetime, since: datetime) -> datetime:
        """Return the last due time up to `instant`, or `since`, a due time before it, when none came later."""
        window = timedelta(minutes=1)
        # Twice as far back each time, so that many due times cost no more than few.
        while (found := self.after(max(instant - window, since))) > instant:
            if instant - window <= since:
                return since
            window *= 2
        while (following := self.after(found)) <= instant:
            found = following
        return found


@lru_cache(maxsize=4096)
def load(cron: str, timezone: str) -> Schedule:
    """Return the Schedule, from memory where it was made before: to read an expression is most of the work."""
    return Schedule(cron, timezone)


def decide(schedule: Schedule, due: datetime, now: datetime, missed: Missed, grace: timedelta) -> Decision:
    """Return the next thing to do for a job whose first open due time is `due`, not later than `now`.

    Due times are taken one by one, the oldest first. One that is not older than `grace` is not late: its run starts.
    Of those that are late

    - `all` starts each;
    - `once` starts one for all of them, the newest due time;
    - `skip` starts none.

    To leave times out is a decision of its own, without a start: whoever acts on it writes it down first.
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


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    # OSError for the name of a folder, such as America.
    except (KeyError, ValueError, OSError):
        raise ScheduleError(
            f"time zone {name!r} is not known; write it like America/Sao_Paulo or UTC"
        ) from None


def _comes_again(local: datetime) -> bool:
    """Return whether a local time with its zone is the second of two."""
    return bool(local.fold) and local.replace(fold=0).utcoffset() != local.utcoffset()
