"""One tick of `agendar_jobs`: start what is due, once.

The whole state is a row's `next_run_at`: the first due time of which nobody has written down that its run is there, or
that it is left out. For one due time of one job, in one transaction:

1. **claim**: lock a due row (`FOR UPDATE SKIP LOCKED`).
2. **decide**: which due time is started next, by the policy for missed times. When the policy leaves times out, that
   is all that happens: `next_run_at` moves past them and is committed, and the row is claimed anew.
3. **start**: ask Airflow for a run whose id is made of the job and the due time.
4. **advance**: move `next_run_at` to the due time after it; commit.

What happens when the process dies, or the database goes away,

| after          | what is there                     | who comes next                                                      |
|----------------|-----------------------------------|---------------------------------------------------------------------|
| claim, decide  | nothing; the server drops the lock| does the same                                                       |
| leaving out    | `next_run_at` past what is left out | goes on from there; what was left out is never looked at again    |
| start, lost    | no run                            | does the same: starts it                                            |
| start, made    | the run                           | asks for the same id, gets 409, and advances                        |
| advance        | run and new `next_run_at`         | finds the job no longer due                                         |
| telling        | errors told by this run of the DAG | the retry of the same run finds them again, no other run           |

A due time later than `next_run_at` is never started first, and the run of an earlier one never after it is advanced.
With `once` and `skip`, a repeated decision may be taken at a later time and pass over a due time whose run was made
and not written down: that run is there once, and so is the newer one.

Two at once: the lock decides. The other process passes the row over, and takes the next one. A process that is frozen
in step 3 for so long that the server ends its transaction finds its run already there when it wakes up, and can't
advance. The row is locked while Airflow is asked, so that whoever changes, pauses or removes the job does it before the
start or after it; that the answer is waited for only so long bounds how long they wait.

An answer that does not come leaves the job due, behind all others, and the tick goes on with them. Three in a row end
the tick: nothing is lost, the next one begins with the jobs that were tried the longest ago. That order also keeps a job
with thousands of due times from holding up the others: after each start it is at the end of the line.

A job that can't be started at all, for its schedule or because Airflow refuses its call, gets the reason into
`last_error`. Somebody may have been saving the automation's file at that moment: the job is tried again after ten minutes,
behind all that have no error, and what it owes by then goes by its policy. A start clears the error; the same error again is
not told again.

Time is read from the database once in a tick: what comes due meanwhile belongs to the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from include.tarefas.jobs import client
from include.tarefas.jobs.client import Api, Outcome, RefusedError
from include.tarefas.jobs.schedule import ScheduleError, decide, load
from include.tarefas.jobs.store import Claim, Store

log = logging.getLogger(__name__)

AWAY = 3
"""So many jobs in a row without an answer, and the API server counts as away."""
MOST_FOLLOWED = 1000


class BadJobsError(Exception):
    """Jobs that can't be started, and were told of by no other run; `jobs` has the reason of each, by name."""

    def __init__(self, jobs: dict[str, str]) -> None:
        reasons = "; ".join(f"job {name}: {error}" for name, error in sorted(jobs.items()))
        # An alert is cut at some length: the names first.
        super().__init__(f"{', '.join(sorted(jobs))} can't be started. {reasons}")
        self.jobs = jobs


class SilenceError(Exception):
    """Airflow did not answer about a job; the message says which, and what was tried."""


@dataclass
class Report:
    """What a tick did: ids of runs that it started, and that were there. `errors` are those that no other run
    told, by the job's name; `away` says about which job no answer came last."""

    started: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    away: str | None = None

    def summary(self) -> dict[str, int]:
        """Return the counts. Raises BadJobsError for new errors, else SilenceError where answers did not come."""
        if self.errors:
            raise BadJobsError(self.errors)
        if self.away:
            raise SilenceError(f"{self.away}; it stays due, and so does what was not tried")
        return {"started": len(self.started), "there": len(self.there)}


def tick(
    store: Store,
    api: Api,
    run_id: str,
    grace: timedelta,
    seconds: float,
    now: Callable[[], datetime] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Start what is due, for at most so many seconds, and look what became of the runs before.

    `run_id` is the run of `agendar_jobs`, the same when it is tried again: what one run has told, no other tells. A due
    time older than `grace` is late. `now` is the database's time unless another is handed in. Raises
    store.AwayError, and client.UnusableError when nothing can be started at all.
    """
    report, moment, end = Report(), (now or store.now)(), clock() + seconds
    silent: list[int] = []
    in_a_row = 0
    while clock() < end:
        with store.claim(moment, but=silent) as claim:
            if claim is None:
                break
            try:
                _step(claim, api, grace, moment, report)
                in_a_row = 0
            except client.AwayError as error:
                claim.put_behind()
                silent.append(claim.job.id)
                in_a_row += 1
                report.away = f"{claim.job.name}: {error}"
                log.warning("no answer about job %s: %s", claim.job.name, error)
        if in_a_row == AWAY:
            break
    else:
        log.warning("%g s were not enough for all that is due; the next run goes on", seconds)
    if not report.away:
        _follow(store, api, end, clock)
    report.errors = store.untold(run_id)
    return report


def _step(claim: Claim, api: Api, grace: timedelta, now: datetime, report: Report) -> None:
    job = claim.job
    try:
        schedule = load(job.cron, job.timezone)
        if job.next_run_at is None:
            claim.leave_out(schedule.after(now))
            return
        decision = decide(schedule, job.next_run_at, now, job.missed, grace)
    except ScheduleError as error:
        claim.refuse(str(error))
        return
    if decision.start is None:
        log.info("job %s: %s to %s left out (%s)", job.name, job.next_run_at, decision.then, job.missed)
        claim.leave_out(decision.then)
        return
    run_id = job.run_id(decision.start)
    try:
        outcome = api.start(run_id, job.conf(), f"job {job.name}, due {decision.start:%Y-%m-%d %H:%M} UTC")
    except RefusedError as error:
        claim.refuse(str(error))
        return
    claim.started(decision.start, decision.then)
    (report.started if outcome is Outcome.STARTED else report.there).append(run_id)
    log.info("job %s: run %s %s", job.name, run_id, outcome.value)


def _follow(store: Store, api: Api, end: float, clock: Callable[[], float]) -> None:
    """Write down what became of runs that were not over."""
    jobs = store.unfinished(MOST_FOLLOWED)
    for first in range(0, len(jobs), client.BATCH):
        if clock() >= end:
            return
        batch = {
            job.run_id(job.last_run_at): job for job in jobs[first : first + client.BATCH] if job.last_run_at
        }
        try:
            states = api.states(batch)
        except client.AwayError as error:
            log.warning("no answer about runs: %s", error)
            return
        for run_id, job in batch.items():
            if (state := states.get(run_id, "removed")) != job.last_state:
                store.follow(job, state)
