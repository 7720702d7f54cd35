"""The due times of a job: cron expressions in a time zone, and the policy for missed times. Pure functions.

A due time is an instant in UTC, in whole minutes. The expression is in local time of the time zone. When the clock changes:

- a local time that does not exist (02:30 in the night of the spring change) is due when the clock jumps over it;
- a local time that comes twice is due the first time;
- an expression that matches in every hour (`*/15 * * * *`) is due at even intervals: not in the gap, and both times in the
  repeated hour.

croniter does the arithmetic. Only `after` uses it, so that all decisions about missed times use the same series.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from croniter import CroniterError, croniter

from include.conventions import zones

LONGEST_CRON = 200
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
        self._every_hour = croniter(self.cron).expanded[1] == ["*"]
        self.after(datetime(2026, 1, 1, tzinfo=UTC))

    def after(self, instant: datetime) -> datetime:
        """Return the first due time after `instant`, in UTC. Raises ScheduleError if there is none."""
        try:
            times = croniter(self.cron, instant.astimezone(self.zone), ret_type=datetime)
            found = times.get_next()
            while not self._every_hour and _comes_again(found):
                found = times.get_next()
        except (CroniterError, OverflowError, ValueError) as error:
            raise ScheduleError(f"cron {self.cron!r} never comes: {error}") from None
        return found.astimezone(UTC)

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


def _comes_again(local: datetime) -> bool:
    """Return whether a local time is the second one of a repeated hour."""
    return bool(local.fold) and local.replace(fold=0).utcoffset() != local.utcoffset()
