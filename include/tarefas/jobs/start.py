"""One tick of `agendar_jobs`: start each due time once.

The only state is the row's `next_run_at`: the first due time that is not yet noted as started or left out. For one due
time of one job, in one transaction:

1. **claim**: lock a due row (`FOR UPDATE SKIP LOCKED`).
2. **decide**: choose the next due time to start, by the policy for missed times. If the policy leaves times out, only that
   happens: `next_run_at` moves past them, commit, and the row is claimed again.
3. **start**: ask Airflow for a run. The run's id is made of the job and the due time.
4. **advance**: move `next_run_at` to the following due time; commit.

When the process dies, or the database does not answer:

| after          | what exists                       | the next process                                                    |
|----------------|-----------------------------------|---------------------------------------------------------------------|
| claim, decide  | nothing; the server drops the lock| does the same                                                       |
| leaving out    | `next_run_at` is past the left-out times | continues there; these times are never considered again      |
| start, lost    | no run                            | does the same: starts it                                            |
| start, created | the run                           | asks for the same id, gets 409 for its own run, and advances        |
| advance        | the run and the new `next_run_at` | finds the job no longer due                                         |
| reporting      | errors marked as reported by this DAG run | the retry of the same run finds them again, no other run    |

A due time later than `next_run_at` is never started first, and an earlier one is never started after the advance. With
`once` and `skip`, a repeated decision is made at a later time. It may skip a due time whose run was created but not
noted: then this run and the newer one both exist, each once.

Two processes at once: the lock decides. The other process skips the row and takes the next one. A process may be frozen
in step 3 until the server ends its transaction. When it continues, its run exists already, and it can't advance. The row
is locked during the request to Airflow, so a user's change, pause or removal of the job happens before or after the
start. The request has a timeout, which limits how long the user waits.

A request without an answer leaves the job due, behind all others, and the tick continues with them. Three in a row end the
tick. Nothing is lost: the next tick begins with the jobs whose last try is longest ago. This order also keeps a job with
thousands of due times from delaying others: after each start it is the last one.

If a job can't be started, because of its schedule or because Airflow refuses its call, the reason is stored in `last_error`.
Perhaps somebody was just saving the automation's file, so the job is tried again after ten minutes, behind all jobs without
an error. Its missed times are then handled by its policy. A start clears the error. The same error is not reported again.

The time is read from the database once per tick: jobs that become due later belong to the next tick.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from include.conventions.errors import TaskError
from include.tarefas.jobs import client
from include.tarefas.jobs.client import Api, Outcome, RefusedError, Run
from include.tarefas.jobs.model import Job
from include.tarefas.jobs.schedule import ScheduleError, decide, load
from include.tarefas.jobs.store import Claim, Store
from trigger.model import FINISHED

log = logging.getLogger(__name__)

AWAY = 3
"""After so many jobs in a row without an answer, the tick ends."""
MOST_FOLLOWED = 1000
REMOVED = Run("removed")
ENDED = (*FINISHED, REMOVED.state)


class BadJobsError(TaskError):
    """Jobs that can't be started, and that no other run has reported. `about` has their names."""

    def __init__(self, jobs: dict[str, str]) -> None:
        reasons = "; ".join(f"job {name}: {error}" for name, error in sorted(jobs.items()))
        self.about = ", ".join(sorted(jobs))
        # The names first: a long alert is cut.
        super().__init__(f"{self.about} can't be started. {reasons}")


class SilenceError(TaskError):
    """Airflow did not answer a request for a job. The message names the job and the request."""

    heals = True


@dataclass
class Report:
    """The result of a tick: the ids of the runs that it started, and of those that existed already. `errors` are those that
    no other run has reported, by the job's name. `away` names the last job without an answer."""

    started: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    away: str | None = None

    def summary(self) -> dict[str, int]:
        """Return the counts. Raises BadJobsError for new errors, or else SilenceError if an answer is missing."""
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
    """Start due jobs for at most `seconds`, and update the states of earlier runs.

    `run_id` is the run of `agendar_jobs`, which is the same in its retries: an error is reported by one run only. A due time
    older than `grace` is late. `now` returns the time; by default, the database's. Raises
    store.DatabaseUnavailableError, and client.UnusableError if no job can be started.
    """
    report, moment, end = Report(), (now or store.now)(), clock() + seconds
    silent: list[int] = []
    in_a_row = 0
    while clock() < end:
        with store.claim(moment, excluding=silent) as claim:
            if claim is None:
                break
            try:
                _step(claim, api, grace, moment, report)
                in_a_row = 0
            except client.NoAnswerError as error:
                claim.move_to_end()
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
    report.errors = store.claim_errors(run_id)
    return report


def _step(claim: Claim, api: Api, grace: timedelta, now: datetime, report: Report) -> None:
    job = claim.job
    try:
        schedule = load(job.cron, job.timezone)
        if job.next_run_at is None:
            claim.skip_to(schedule.after(now))
            return
        decision = decide(schedule, job.next_run_at, now, job.missed, grace)
    except ScheduleError as error:
        claim.refuse(str(error))
        return
    if decision.start is None:
        log.info("job %s: %s to %s left out (%s)", job.name, job.next_run_at, decision.then, job.missed)
        claim.skip_to(decision.then)
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
    """Store the states of the runs that had not ended at the last tick, and how they ended."""
    jobs = store.unfinished(MOST_FOLLOWED)
    for first in range(0, len(jobs), client.BATCH):
        if clock() >= end:
            return
        batch = jobs[first : first + client.BATCH]
        try:
            found = api.runs(job.run_id(run_at) for job in batch for run_at in job.open_runs)
        except client.NoAnswerError as error:
            log.warning("no answer about runs: %s", error)
            return
        for job in batch:
            _note(store, job, [found.get(job.run_id(run_at), REMOVED) for run_at in job.open_runs])


def _note(store: Store, job: Job, runs: list[Run]) -> None:
    """Store the newest run's state, and the outcome of the newest run that has ended. `runs` are those of `open_runs`."""
    if runs[-1].state != job.last_state:
        store.follow(job, runs[-1].state)
    for run_at, run in reversed(list(zip(job.open_runs, runs, strict=True))):
        if run.state in ENDED:
            store.conclude(job, run_at, run.state, run.ended_at)
            return
