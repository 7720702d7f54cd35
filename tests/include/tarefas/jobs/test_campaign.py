"""Several ticking processes at once, killed at random, over thousands of due times: each is started exactly once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from include.tarefas.jobs.store import Store
from tests.include.tarefas.jobs.recorder import Recorder
from tests.include.tarefas.jobs.test_start import add

NOW = datetime(2026, 11, 21, 14, 30, 20, tzinfo=UTC)
DUE = NOW.replace(second=0)
MINUTE = timedelta(minutes=1)


def fill(store: Store, dsn: str, jobs: int, backlog: int, prefix: str = "job") -> dict[str, list[str]]:
    """Make jobs of all policies, due since `backlog` minutes; return the run ids that each owes, in order."""
    owed = {}
    for number in range(jobs):
        missed = ("all", "all", "once", "skip")[number % 4]
        # Half of the jobs are due every minute, the others each fourth.
        step = 1 if number % 2 else 4
        times = [
            DUE - minute * MINUTE
            for minute in range(backlog, -1, -1)
            if (DUE - minute * MINUTE).minute % step == 0
        ]
        job = add(store, dsn, f"{prefix}-{number:03}", due=times[0], missed=missed, cron=f"*/{step} * * * *")
        kept = {
            "all": times,
            "once": times[-1:],
            "skip": [time for time in times if NOW - time <= 5 * MINUTE],
        }
        owed[job.name] = [job.run_id(time) for time in kept[missed]]
    return owed


def campaign(dsn: str, server: Recorder, kills_a_second: float, seed: int, seconds: float) -> int:
    """Run the processes until nothing is due; return how many were killed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.include.tarefas.jobs.campaign", str(kills_a_second)],
        env={
            **os.environ,
            "JOBS_DSN": dsn,
            "API_URL": server.url,
            "NOW": NOW.isoformat(),
            "SEED": str(seed),
        },
        timeout=seconds,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def check(owed: dict[str, list[str]], server: Recorder, store: Store) -> None:
    """Every due time has its run, nothing else has one, and each job's came in their order."""
    started = defaultdict(list)
    for run_id in server.created:
        started[run_id.split("__")[1]].append(run_id)
    assert started == owed
    for job in store.jobs():
        assert job.last_error is None
        assert job.next_run_at is not None
        assert job.next_run_at > NOW
        # What a kill left unsaid was said by whoever came next.
        assert job.last_run_at is not None
        assert job.run_id(job.last_run_at) == owed[job.name][-1]


def test_processes_at_once_ask_for_each_run_once(dsn: str, store: Store, server: Recorder) -> None:
    owed = fill(store, dsn, jobs=12, backlog=60)
    assert campaign(dsn, server, kills_a_second=0, seed=1, seconds=60) == 0
    check(owed, server, store)
    assert set(server.posts.values()) == {1}


def kill_while_working(
    dsn: str, store: Store, server: Recorder, jobs: int, backlog: int, kills: int
) -> dict[str, list[str]]:
    """Give the processes work until so many of them were killed at it; return the run ids that each job owes.

    How many a round takes depends on the machine: a fast one is done before many kills have come.
    """
    owed: dict[str, list[str]] = {}
    killed = rounds = 0
    while killed < kills:
        owed |= fill(store, dsn, jobs, backlog, prefix=f"job-{rounds}")
        killed += campaign(dsn, server, kills_a_second=16, seed=rounds, seconds=550)
        rounds += 1
    print(f"{killed} kills in {rounds} rounds, {sum(map(len, owed.values())):,} runs")
    return owed


def faulty(seed: int, one_in: int) -> Callable[[str], str | int | None]:
    """What goes wrong with a request, now and then."""
    rng = random.Random(seed)
    kinds: list[str | int] = ["before", "after", 500, 503]
    return lambda _: rng.choice(kinds) if rng.random() < 1 / one_in else None


def test_processes_that_are_killed_lose_and_double_nothing(dsn: str, store: Store, server: Recorder) -> None:
    server.faults = faulty(seed=2, one_in=50)
    owed = kill_while_working(dsn, store, server, jobs=28, backlog=120, kills=21)
    assert sum(map(len, owed.values())) > 1000
    check(owed, server, store)
    # The kills hit between the start and what is written down, or this would show nothing.
    assert max(server.posts.values()) > 1


@pytest.mark.soak
def test_minutes_of_kills_lose_and_double_nothing(dsn: str, store: Store, server: Recorder) -> None:
    server.faults = faulty(seed=3, one_in=30)
    owed = kill_while_working(dsn, store, server, jobs=100, backlog=240, kills=300)
    check(owed, server, store)
