"""Jobs on the running deployment: from /scheduler/jobs through agendar_jobs to runs of executar_tarefa, once each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
import requests

from include.tarefas.jobs.client import Api, Outcome, RefusedError, Run, UnusableError
from include.tarefas.jobs.database import libpq
from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from tests import rest
from tests.e2e.runs import PATIENCE, broker, until
from tests.receivers import Mailbox, Webhook

TICK, RUNS = "agendar_jobs", "executar_tarefa"
TASK = "hello_world.send_hello_world"
TWENTY = [f"job-{number:02}" for number in range(20)]
# A due time a few minutes ago, which the policy `all` does not skip.
DUE = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=7)


def sql(deployment: Deployment, statement: str, *values: object) -> None:
    """Run a statement as the jobs' own role, as somebody may do in psql."""
    uri = deployment.environment["AIRFLOW_CONN_POSTGRES_JOBS"].replace("postgres://", "postgresql://")
    with psycopg.connect(libpq(uri)) as connection:
        connection.execute(statement, values)


@pytest.fixture(scope="module")
def airflow(deployment: Deployment) -> Iterator[AirflowApi]:
    """Airflow's API. executar_tarefa is unpaused; agendar_jobs is paused again after this module."""
    with AirflowApi(deployment.settings) as client:
        client.unpause(RUNS, PATIENCE, deployment.supervisor.check)
        yield client
        client.call("PATCH", f"/api/v2/dags/{TICK}", json={"is_paused": True})


@pytest.fixture(scope="module")
def jobs(deployment: Deployment, airflow: AirflowApi) -> Iterator[httpx.Client]:
    """A client of the service as the operator. All jobs are removed at the end."""
    token = rest.token(deployment.settings.url, "operator", deployment.settings.operator_password)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{deployment.settings.url}/scheduler", headers=headers, timeout=30) as client:
        yield client
        for job in client.get("/jobs").json():
            client.delete(f"/jobs/{job['name']}").raise_for_status()


def created(airflow: AirflowApi) -> dict[str, dict[str, Any]]:
    """Every run of executar_tarefa that a job of this module started."""
    query = {"run_id_prefix_pattern": "job__job-", "limit": 100}
    found = airflow.call("GET", f"/api/v2/dags/{RUNS}/dagRuns", params=query)["dag_runs"]
    return {run["dag_run_id"]: run for run in found}


def ticked(deployment: Deployment, airflow: AirflowApi) -> tuple[str, Any]:
    """Trigger one tick; return the run's state and its task's return value."""
    run_id = airflow.trigger(TICK, {})
    state = airflow.wait(TICK, run_id, PATIENCE, deployment.supervisor.check).state
    path = f"/api/v2/dags/{TICK}/dagRuns/{run_id}/taskInstances/start_due_jobs/xcomEntries/return_value"
    return state, airflow.call("GET", path)["value"] if state == "success" else None


def test_twenty_due_times_become_twenty_runs_and_a_bad_job_is_alerted_once(
    deployment: Deployment, airflow: AirflowApi, jobs: httpx.Client, mailbox: Mailbox, webhook: Webhook
) -> None:
    for name in (*TWENTY, "ghost"):
        body = {"name": name, "tarefa": TASK, "cron": "0 0 1 1 *", "queue": "high", "missed": "once"}
        jobs.post("/jobs", json=body).raise_for_status()
    # Seven minutes late, as after an outage; and one job whose automation no longer exists.
    sql(deployment, "UPDATE jobs SET next_run_at = %s", DUE)
    sql(deployment, "UPDATE jobs SET task = 'hello_world.gone' WHERE name = 'ghost'")
    with broker(deployment) as turns:
        for turn in turns.scan_iter(f"alertas:{TICK}*"):
            turns.delete(turn)
    mailbox.messages.clear()
    webhook.posts.clear()
    # The scheduled run of the last minute.
    begun = datetime.now(UTC)
    airflow.unpause(TICK, PATIENCE, deployment.supervisor.check)
    first = until(deployment, lambda: airflow.runs(TICK, since=begun))[0]
    assert airflow.wait(TICK, first.run_id, PATIENCE, deployment.supervisor.check).state == "failed"
    airflow.call("PATCH", f"/api/v2/dags/{TICK}", json={"is_paused": True})

    ghost = jobs.get("/jobs/ghost").json()
    assert "module hello_world has no tarefa" in ghost["last_error"]
    until(deployment, lambda: about(mailbox.texts()) and about(webhook.texts()))
    for texts in (mailbox.texts(), webhook.texts()):
        [alert] = about(texts)
        assert "job ghost: 400 module hello_world has no tarefa" in alert

    # As if a process had died before it noted the starts: the same due times again start nothing new.
    until(deployment, lambda: all(run["state"] == "success" for run in created(airflow).values()))
    sql(deployment, "UPDATE jobs SET next_run_at = %s", DUE)
    airflow.call("PATCH", f"/api/v2/dags/{TICK}", json={"is_paused": False})
    state, counts = ticked(deployment, airflow)
    airflow.call("PATCH", f"/api/v2/dags/{TICK}", json={"is_paused": True})
    # A scheduled run may have been first.
    assert state == "success"
    assert counts["started"] == 0

    listed = {job["name"]: job for job in jobs.get("/jobs").json()}
    runs = created(airflow)
    assert {run_id.split("__")[1] for run_id in runs} == set(TWENTY)
    assert len(runs) == 20
    for run_id, run in runs.items():
        assert run_id.endswith(f"__{DUE:%Y%m%dT%H%M%SZ}")
        assert run["triggering_user_name"] == "agendador"
        assert run["conf"] == {"tarefa": TASK, "args": [], "kwargs": {}, "queue": "high"}
        job = listed[run_id.split("__")[1]]
        assert datetime.fromisoformat(job["last_run_at"]) == DUE
        assert (job["last_state"], job["outcome"], job["outcome_reason"]) == ("success", "success", None)
        assert datetime.fromisoformat(job["next_run_at"]) > datetime.now(UTC)
    assert len(about(mailbox.texts())) == len(about(webhook.texts())) == 1


def about(texts: list[str]) -> list[str]:
    return [text for text in texts if f"{TICK}.start_due_jobs failed" in text.splitlines()[0]]


def test_who_starts_jobs_may_start_and_see_runs_of_executar_tarefa_and_nothing_else(
    deployment: Deployment, jobs: httpx.Client
) -> None:
    settings = deployment.settings
    token = rest.token(settings.url, "agendador", settings.agendador_password)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=settings.url, headers=headers, timeout=30) as agendador:
        assert agendador.get(f"/api/v2/dags/{RUNS}/dagRuns").status_code == 200
        assert [dag["dag_id"] for dag in agendador.get("/api/v2/dags").json()["dags"]] == [RUNS]
        for method, path in [
            ("GET", "/api/v2/dags/etl_vendas"),
            ("POST", "/api/v2/dags/etl_vendas/dagRuns"),
            ("DELETE", f"/api/v2/dags/{RUNS}/dagRuns/some"),
            ("PATCH", f"/api/v2/dags/{RUNS}"),
            ("PATCH", "/api/v2/dags"),
            ("POST", "/scheduler/jobs"),
            ("DELETE", "/scheduler/clean-queue"),
            ("GET", "/api/v2/connections"),
            ("GET", "/api/v2/variables"),
            ("GET", "/api/v2/pools"),
            ("GET", "/auth/fab/v1/users"),
        ]:
            body = {"POST": {"logical_date": None}, "PATCH": {"is_paused": True}}.get(method)
            assert agendador.request(method, path, json=body).status_code == 403, path


def test_the_client_knows_what_airflow_answers(deployment: Deployment, airflow: AirflowApi) -> None:
    settings = deployment.settings
    with requests.Session() as session:
        api = Api(session, settings.url, "agendador", settings.agendador_password)
        run_id = f"job__by-hand__0__{DUE:%Y%m%dT%H%M%SZ}"
        airflow.call("PATCH", f"/api/v2/dags/{RUNS}", json={"is_paused": True})
        try:
            assert api.start(run_id, {"tarefa": TASK}, "by hand") is Outcome.STARTED
            assert api.start(run_id, {"tarefa": TASK}, "by hand") is Outcome.THERE
            assert api.runs([run_id, "job__other__1__20260101T000000Z"]) == {run_id: Run("queued")}
            with pytest.raises(RefusedError, match="400 module hello_world has no tarefa"):
                api.start(f"{run_id}1", {"tarefa": "hello_world.gone"}, "")
            with pytest.raises(RefusedError, match='queue "urgent" is not there'):
                api.start(f"{run_id}2", {"tarefa": TASK, "queue": "urgent"}, "")
            with pytest.raises(UnusableError, match="does not know 'agendador' with this password"):
                Api(session, settings.url, "agendador", "wrong").start(run_id, {"tarefa": TASK}, "")
        finally:
            with rest.admin(settings) as admin:
                admin.delete(f"/dags/{RUNS}/dagRuns/{run_id}").raise_for_status()
            airflow.call("PATCH", f"/api/v2/dags/{RUNS}", json={"is_paused": False})


def test_the_router_asks_for_rights(deployment: Deployment, jobs: httpx.Client) -> None:
    settings = deployment.settings
    token = rest.token(settings.url, "viewer", settings.viewer_password)
    body = {"name": "x", "task": TASK, "cron": "* * * * *"}
    calls = [
        ("POST", "/jobs", body),
        ("PATCH", "/jobs/ghost", {"enabled": False}),
        ("DELETE", "/jobs/ghost", None),
    ]
    with httpx.Client(base_url=f"{settings.url}/scheduler", timeout=30) as nobody:
        assert nobody.get("/jobs").status_code == nobody.get("/jobs/ghost").status_code == 401
        for method, path, sent in calls:
            assert nobody.request(method, path, json=sent).status_code == 401
            viewer = {"Authorization": f"Bearer {token}"}
            assert nobody.request(method, path, json=sent, headers=viewer).status_code == 403
            cookie = {"Cookie": f"_token={jobs.headers['Authorization'].removeprefix('Bearer ')}"}
            assert nobody.request(method, path, json=sent, headers=cookie).status_code == 401
        assert nobody.get("/jobs", headers={"Authorization": f"Bearer {token}"}).status_code == 200
