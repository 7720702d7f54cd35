"""Which queue a run's tasks wait in, who is served first, and how many may extract at once."""

from __future__ import annotations

import json

import pytest
from celery import Celery

from local.api import AirflowApi, ApiError
from local.stack import Deployment
from tests.e2e.conftest import PATIENCE
from tests.e2e.runs import broker, ended, instances, open_gate, until

WAITING = 30
SLOTS = 2  # of the deployment's one worker


@pytest.fixture(scope="module")
def ready(deployment: Deployment, api: AirflowApi) -> AirflowApi:
    """The API, once the tests' own DAGs are known."""
    for dag in ("gated", "extraction", "branches"):
        api.unpause(dag, PATIENCE, deployment.supervisor.check)
    return api


def test_the_api_server_refuses_a_queue_that_is_not_in_the_list(ready):
    for dag in ("gated", "ola", "etl_vendas"):
        with pytest.raises(ApiError, match=r"answered 400: .*'urgent' is not one of"):
            ready.trigger(dag, {"queue": "urgent"})


def test_the_hook_is_registered_in_the_api_server(deployment, ready):
    # Nobody unpauses this one: what its instances look like is the API server's work alone.
    run = ready.trigger("at_three_New_York", {"queue": "high"})
    assert [one.queue for one in instances(ready, "at_three_New_York", run)] == ["high"]


def test_the_hook_is_registered_in_the_scheduler(deployment, ready):
    run = ready.trigger("branches", {"parts": 3, "queue": "low"})
    assert ended(deployment, ready, "branches", run).state == "success"
    found = instances(ready, "branches", run)
    # How many there are is known while the run runs: the scheduler makes all but the first.
    assert sorted(one.index for one in found if one.task == "load") == [0, 1, 2]
    assert {one.queue for one in found} == {"low"}
    assert {one.hostname for one in found if one.task == "load"} == {"servidor01"}


def test_a_cleared_run_stays_in_its_queue(deployment, ready):
    run = ready.trigger("gated", {"queue": "high"})
    open_gate(deployment, run)
    assert ended(deployment, ready, "gated", run).state == "success"
    ready.call("POST", f"/api/v2/dags/gated/dagRuns/{run}/clear", json={"dry_run": False})
    again = until(
        deployment,
        lambda: [one for one in instances(ready, "gated", run) if one.tries == 2 and one.state == "success"],
    )
    assert [one.queue for one in again] == ["high"]


def test_a_scheduled_run_waits_where_its_dag_says(deployment, ready):
    runs = until(
        deployment,
        lambda: ready.call("GET", "/api/v2/dags/etl_vendas/dagRuns", params={"run_type": "scheduled"})[
            "dag_runs"
        ],
    )
    found = until(deployment, lambda: instances(ready, "etl_vendas", runs[0]["dag_run_id"]))
    assert {one.queue for one in found} == {"default"}


def test_a_high_run_starts_before_thirty_low_ones_that_wait(deployment, ready):
    waiting = [ready.trigger("gated", {"queue": "low"}) for _ in range(SLOTS + WAITING)]
    with broker(deployment) as queues:
        until(deployment, lambda: queues.llen("low") == WAITING)
        # Two runs of one DAG at the same time: all slots are taken.
        running = until(
            deployment,
            lambda: [
                run for run in waiting if [one.state for one in instances(ready, "gated", run)] == ["running"]
            ],
        )
        assert len(running) == SLOTS
        urgent = ready.trigger("gated", {"queue": "high"})
        open_gate(deployment, urgent)
        until(deployment, lambda: queues.llen("high") == 1)
        assert queues.llen("low") == WAITING
    open_gate(deployment, running[0])
    assert ended(deployment, ready, "gated", urgent).state == "success"
    [first] = instances(ready, "gated", urgent)
    for run in waiting:
        open_gate(deployment, run)
    for run in waiting:
        assert ended(deployment, ready, "gated", run).state == "success"
    started = [one.started for run in waiting for one in instances(ready, "gated", run)]
    assert sum(moment < first.started for moment in started) == SLOTS


def test_the_pool_bounds_extractions_while_other_tasks_go_on(deployment, ready):
    pool = ready.call("GET", "/api/v2/pools/fonte_vendas")
    assert pool["slots"] == 2
    runs = [ready.trigger("extraction", {}) for _ in range(3)]
    until(
        deployment,
        lambda: ready.call("GET", "/api/v2/pools/fonte_vendas")["open_slots"] == 0,
    )
    other = ready.trigger("gated", {})
    with broker(deployment) as queues:
        # The scheduler has been past all of them: this one it sent, and one of the three it did not.
        until(
            deployment,
            lambda: (
                any(other in json.dumps(message) for message in queues.lrange("default", 0, -1))
                or instances(ready, "gated", other)[0].state in ("queued", "running")
            ),
        )
    states = [instances(ready, "extraction", run)[0].state for run in runs]
    assert sum(state in ("queued", "running") for state in states) <= 2
    assert any(state in (None, "scheduled") for state in states)
    for run in [*runs, other]:
        open_gate(deployment, run)
    for run in runs:
        assert ended(deployment, ready, "extraction", run).state == "success"
    assert ended(deployment, ready, "gated", other).state == "success"


def test_the_worker_goes_by_its_name(deployment):
    settings = deployment.settings
    url = f"redis://:{settings.redis_password}@127.0.0.1:{settings.redis_port}/0"
    with Celery(broker=url) as app:
        answers = until(deployment, lambda: app.control.ping(timeout=2))
    [name] = answers[0]
    assert name.startswith("servidor01@")
