"""Processes that tick at once and are killed at any moment, until nothing is due: python -m …campaign KILLS_A_SECOND

    JOBS_DSN=… API_URL=… NOW=… SEED=… python -m tests.include.tarefas.jobs.campaign 30

Each ticking process is a fork of this one, so that a new one begins at once. Prints how many were killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta

import requests

from include.tarefas.jobs import client
from include.tarefas.jobs.client import Api
from include.tarefas.jobs.start import tick
from include.tarefas.jobs.store import DatabaseUnavailableError, Store
from tests.include.tarefas.jobs.recorder import PASSWORD, USER

GRACE = timedelta(minutes=5)
AT_ONCE = 4
DSN, NOW = os.environ["JOBS_DSN"], datetime.fromisoformat(os.environ["NOW"])


def tick_once() -> None:
    """One tick, as the task of `agendar_jobs` has it: what it raises ends the process."""
    with requests.Session() as session, Store(DSN) as store:
        api = Api(session, os.environ["API_URL"], USER, PASSWORD, timeout=timedelta(seconds=2))
        with suppress(client.UnusableError, DatabaseUnavailableError):
            tick(store, api, "scheduled", GRACE, seconds=50, now=lambda: NOW)


def fork() -> int:
    """Return the id of a new process that ticks once."""
    if child := os.fork():
        return child
    try:
        tick_once()
    finally:
        os._exit(0)


def main(kills_a_second: float) -> None:
    """Keep processes ticking, and kill them, until nothing is due and none of them works any more."""
    rng, killed = random.Random(os.environ["SEED"]), 0
    with Store(DSN) as watching:
        while _is_due(watching):
            running = {fork() for _ in range(AT_ONCE)}
            while running:
                if kills_a_second:
                    time.sleep(rng.expovariate(kills_a_second))
                    with suppress(ProcessLookupError):
                        os.kill(rng.choice(sorted(running)), signal.SIGKILL)
                    options = os.WNOHANG
                else:
                    options = 0
                child, status = os.waitpid(-1, options)
                if not child:
                    continue
                running.discard(child)
                killed += os.WIFSIGNALED(status)
                if kills_a_second and _is_due(watching):
                    running.add(fork())
    print(killed)


def _is_due(store: Store) -> bool:
    return any(
        job.next_run_at is None or job.next_run_at <= NOW for job in store.jobs() if not job.last_error
    )


if __name__ == "__main__":
    main(float(sys.argv[1]))
