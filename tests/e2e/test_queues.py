"""The queue of a run's tasks, the order of the queues, and the limit on concurrent extractions."""

from __future__ import annotations

import pytest
from celery import Celery

from local.deployment.api import AirflowApi, ApiError
from local.deployment.stack import Deployment
from tests.e2e.runs import PATIENCE, broker, ended, every, instances, open_gate, until

WAITING = 30
SLOTS = 2  # slots of the deployment's only worker


@pytest.fixture(scope="module")
def ready(deployment: Deployment, api: AirflowApi) -> AirflowApi:
    """The API, when the tests' own DAGs are known."""
    for dag in ("gated", "extraction", "branches"):
        api.unpause(dag, PATIENCE, deployment.supervisor.check)
    return api


def test_the_api_server_refuses_a_queue_that_is_not_in_the_list(ready):
    for dag in ("gated", "ola", "etl_vendas"):
        with pytest.raises(ApiError, match=r"answered 400: .*'urgent' is not one of"):
            ready.trigger(dag, {"queue": "urgent"})


def test_the_hook_is_registered_in_the_api_server(deployment, ready):
    # This DAG stays paused: the API server alone creates its task instances.
    run = ready.trigger("at_three_New_York", {"queue": "high"})
    assert [one.queue for one in instances(ready, "at_three_New_York", run)] == ["high"]


def test_the_hook_is_registered_in_the_scheduler(deployment, ready):
    run = ready.trigger("branches", {"parts": 3, "queue": "low"})
    assert ended(deployment, ready, "branches", run).state == "success"
    found = instances(ready, "branches", run)
    # The number of mapped instances is only known during the run: the scheduler creates all but the first.
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


def test_a_scheduled_run_waits_where_its_dag_says(deployment, ready, schedule):
    runs = until(
        deployment,
        lambda: ready.call("GET", "/api/v2/dags/etl_vendas/dagRuns", params={"run_type": "scheduled"})[
            "dag_runs"
        ],
    )
    found = until(deployment, lambda: instances(ready, "etl_vendas", runs[0]["dag_run_id"]))
    assert {one.queue for one in found} == {"default"}


def running(api: AirflowApi, runs: list[str]) -> list[str]:
    return [run for run, one in every(api, "gated", runs) if one.state == "running"]


def test_high_runs_start_before_thirty_low_ones_that_wait(deployment, ready):
    waiting = [ready.trigger("gated", {"queue": "low"}) for _ in range(SLOTS + WAITING)]
    with broker(deployment) as queues:
        until(deployment, lambda: queues.llen("low") == WAITING)
        # Two runs of one DAG at the same time: all slots are taken.
        until(deployment, lambda: len(running(ready, waiting)) == SLOTS)
        first, second = running(ready, waiting)
        # More than one: if the queues took turns, the first would also be next, but the second would come after a low one.
        urgent = [ready.trigger("gated", {"queue": "high"}) for _ in range(3)]
        for run in urgent:
            open_gate(deployment, run)
        until(deployment, lambda: queues.llen("high") == len(urgent))
        assert queues.llen("low") == WAITING
    open_gate(deployment, first)
    for run in urgent:
        assert ended(deployment, ready, "gated", run).state == "success"
    last = max(one.ran[0] for run in urgent for one in instances(ready, "gated", run))
    open_gate(deployment, second)
    begun = [one.started for _, one in every(ready, "gated", waiting) if one.started]
    assert sum(moment < last for moment in begun) == SLOTS
    # The other runs are not needed any more. A worker drops their messages.
    for run in waiting:
        open_gate(deployment, run)
        ready.call("PATCH", f"/api/v2/dags/gated/dagRuns/{run}", json={"state": "success"})
    with broker(deployment) as queues:
        until(deployment, lambda: queues.llen("low") == 0)


def test_the_pool_bounds_extractions_while_other_tasks_go_on(deployment, ready):
    sent = ("queued", "running")
    slots = ready.call("GET", "/api/v2/pools/fonte_vendas")["slots"]
    assert slots == 3
    runs = [ready.trigger("extraction", {}) for _ in range(slots + 1)]

    def held_back() -> list[str]:
        """Return the runs that wait in the scheduler after the others were sent."""
        found = {run: instances(ready, "extraction", run)[0].state for run in runs}
        waiting = [run for run in runs if found[run] == "scheduled"]
        return waiting if sum(state in sent for state in found.values()) == slots else []

    [last] = until(deployment, held_back)
    # The pool holds the others back: this run, which comes later, is sent.
    other = ready.trigger("gated", {})
    until(deployment, lambda: instances(ready, "gated", other)[0].state in sent)
    assert held_back() == [last]
    assert instances(ready, "extraction", last)[0].queue == "low", "as its DAG says"
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
