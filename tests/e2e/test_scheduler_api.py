"""The automations' REST service at /scheduler on a complete deployment: users, runs, and clean-queue beside a worker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import jwt
import psycopg
import pytest
import requests
from psycopg.types.json import Jsonb

from include.tarefas.jobs.client import Api, Outcome, RefusedError
from local.deployment.api import AirflowApi
from local.deployment.stack import Deployment
from tests import rest
from tests.browser import chromium
from tests.campaign import Campaign
from tests.conftest import ROOT
from tests.e2e.runs import PATIENCE, broker, ended, log, until
from trigger.client import AirflowClient
from trigger.errors import RequestRefused

DAG = "executar_tarefa"
HELLO = {"module": "hello_world", "function": "send_hello_world"}
TASK = "hello_world.send_hello_world"
RUNS = f"/api/v2/dags/{DAG}/dagRuns"
CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "/queue-task", HELLO),
    ("POST", "/schedule-task", {**HELLO, "seconds": 1}),
    ("GET", "/clean-queue", None),
    ("DELETE", "/clean-queue", None),
    ("POST", "/jobs", {"name": "mine", "task": TASK, "cron": "0 0 * * *"}),
    ("PATCH", "/jobs/mine", {"enabled": False}),
    ("DELETE", "/jobs/mine", None),
]


@pytest.fixture(scope="module")
def airflow(deployment: Deployment) -> Iterator[AirflowApi]:
    """Airflow's own API as the admin. executar_tarefa is known and paused, so that queued runs wait."""
    with AirflowApi(deployment.settings) as client:
        client.unpause(DAG, PATIENCE, deployment.supervisor.check)
        pause(client, True)
        yield client
        client.call("DELETE", "/scheduler/clean-queue", params={"scheduled": "true"})


def pause(airflow: AirflowApi, paused: bool) -> None:
    airflow.call("PATCH", f"/api/v2/dags/{DAG}", json={"is_paused": paused})


@pytest.fixture(scope="module")
def users(deployment: Deployment, airflow: AirflowApi) -> Iterator[dict[str, httpx.Client]]:
    """A client of the service for each user, with a token in the header. `nobody` has no token."""
    settings = deployment.settings
    passwords = {
        "admin": settings.admin_password,
        "operator": settings.operator_password,
        "viewer": settings.viewer_password,
    }
    with ExitStack() as clients:
        found = {}
        for user in (*passwords, "nobody"):
            client = httpx.Client(base_url=f"{settings.url}/scheduler", timeout=60)
            if user in passwords:
                token = rest.token(settings.url, user, passwords[user])
                client.headers["Authorization"] = f"Bearer {token}"
            found[user] = clients.enter_context(client)
        yield found


@pytest.fixture
def operator(users: dict[str, httpx.Client]) -> httpx.Client:
    return users["operator"]


@pytest.fixture
def metadata(deployment: Deployment) -> Iterator[psycopg.Connection]:
    with psycopg.connect(deployment.settings.dsn(deployment.settings.metadata_database)) as connection:
        yield connection


def queue(client: httpx.Client, run_id: str, **more: Any) -> None:
    answer = client.post("/queue-task", json={**HELLO, "run_id": run_id, **more})
    assert answer.status_code == 201, answer.text


def there(airflow: AirflowApi, prefix: str) -> set[str]:
    """Return the runs whose id begins with the prefix."""
    found = airflow.call("GET", RUNS, params={"limit": 100, "order_by": "-run_after"})["dag_runs"]
    return {run["dag_run_id"] for run in found if run["dag_run_id"].startswith(prefix)}


# Access.


@pytest.mark.security
def test_each_user_may_what_airflow_lets_them(
    users: dict[str, httpx.Client], airflow: AirflowApi, campaign: Campaign
) -> None:
    for path in ("/modules", "/openapi.json", "/docs", "/docs/swagger-ui-bundle.js", "/jobs"):
        assert users["viewer"].get(path).status_code == 200, path
        assert users["nobody"].get(path).status_code == 401, path
    for method, path, body in CHANGES:
        for user, status in (("nobody", 401), ("viewer", 403)):
            answer = users[user].request(method, path, json=body)
            assert answer.status_code == status, (user, method, path, answer.text)
            assert set(answer.json()) == {"message"}
            campaign.refused("requests")


@pytest.mark.security("requests", 10)
def test_a_token_that_is_over_or_none_at_all_is_no_login(
    deployment: Deployment, users: dict[str, httpx.Client]
) -> None:
    held = users["operator"].headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(held, options={"verify_signature": False})
    secret = deployment.settings.jwt_secret
    tokens = {
        "as Airflow signs it": (jwt.encode(claims, secret, "HS512"), 200),
        "over": (jwt.encode({**claims, "exp": datetime.now(UTC) - timedelta(hours=1)}, secret, "HS512"), 401),
        "of nobody": (jwt.encode({**claims, "sub": "123456"}, secret, "HS512"), 401),
        "signed by another": (jwt.encode(claims, secret[::-1], "HS512"), 401),
        "cut": (held[:-10], 401),
        "a word": ("hello", 401),
    }
    for what, (token, status) in tokens.items():
        for path in ("/modules", "/clean-queue"):
            answer = users["nobody"].get(path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status, (what, answer.text)


@pytest.mark.security("requests", 8)
def test_the_cookie_of_the_ui_reads_and_changes_nothing(
    deployment: Deployment, users: dict[str, httpx.Client], airflow: AirflowApi
) -> None:
    settings = deployment.settings
    before = there(airflow, "")
    with httpx.Client(base_url=settings.url, follow_redirects=True, timeout=60) as person:
        # Log in like a browser: with the form, which sets Airflow's cookie.
        form = person.get("/auth/login/").text
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)
        fields = {"username": "operator", "password": settings.operator_password}
        person.post("/auth/login/", data={**fields, "csrf_token": found[1] if found else ""})
        assert person.cookies.get("_token")
        assert person.get("/api/v2/dags").status_code == 200, "to Airflow it is a login"
        assert person.get("/scheduler/modules").status_code == 200
        assert person.get("/scheduler/docs").status_code == 200
        for method, path, body in CHANGES:
            answer = person.request(method, f"/scheduler{path}", json=body)
            assert answer.status_code == 401, (method, path, answer.text)
            assert "Authorization" in answer.json()["message"]
        # A request that a form on another site can send.
        sent = person.post(
            "/scheduler/queue-task", content=json.dumps(HELLO), headers={"Content-Type": "text/plain"}
        )
        assert sent.status_code == 401
    assert there(airflow, "") == before


# Calls.


def test_a_call_runs_under_the_name_of_who_asked(
    deployment: Deployment, airflow: AirflowApi, operator: httpx.Client
) -> None:
    pause(airflow, False)
    try:
        answer = operator.post(
            "/queue-task", json={**HELLO, "queue": "high", "kwargs": {"name": "João 🚀"}, "note": "até já"}
        )
        assert answer.status_code == 201
        assert answer.json()["message"] == "task enqueued on high queue."
        assert answer.json()["task"] == TASK
        later = operator.post("/schedule-task", json={**HELLO, "seconds": 3})
        assert later.json()["message"] == "task scheduled for 3 Seconds from now on default queue."
        run = operator.get(answer.json()["links"]["run"]).json()
        assert (run["triggering_user_name"], run["note"]) == ("operator", "até já")
        assert operator.get(answer.json()["links"]["ui"]).status_code == 200
        assert ended(deployment, airflow, DAG, answer.json()["run_id"]).state == "success"
        assert "Hello, João 🚀!" in log(airflow, DAG, answer.json()["run_id"], "executar", 1)
        waited = ended(deployment, airflow, DAG, later.json()["run_id"])
        assert waited.state == "success"
        [task] = airflow.call("GET", f"{RUNS}/{later.json()['run_id']}/taskInstances")["task_instances"]
        assert datetime.fromisoformat(task["start_date"]) >= datetime.fromisoformat(later.json()["run_after"])
        assert task["max_tries"] >= 1, "retried like any other"
    finally:
        pause(airflow, True)


def test_the_same_request_twice_at_once_is_one_run(operator: httpx.Client, airflow: AirflowApi) -> None:
    both = Barrier(4)
    call = {**HELLO, "run_id": "twice"}

    def ask(_: int) -> int:
        both.wait()
        return operator.post("/queue-task", json=call).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(ask, range(4))) == [200, 200, 200, 201]
    assert there(airflow, "twice") == {"twice"}
    assert operator.post("/queue-task", json={**call, "queue": "low"}).status_code == 409
    later = {**HELLO, "run_id": "twice-later", "hours": 1}
    assert [operator.post("/schedule-task", json=later).status_code for _ in range(2)] == [201, 200]
    assert operator.post("/schedule-task", json={**later, "hours": 2}).status_code == 409
    assert operator.delete("/clean-queue?scheduled=true").json()["removed"] >= 2


STORED = {"tarefa": TASK, "args": [], "kwargs": {"name": "Ana"}, "queue": "default"}
BEFORE: dict[str, dict[str, Any]] = {
    "by the service of before": {**HELLO, "args": [], "kwargs": {"name": "Ana"}, "queue": "default"},
    "by the form of before": {
        **{"tarefa": TASK, "module": None, "function": None, "args": [], "kwargs": {"name": "Ana"}},
    },
    "by another DAG": {"tarefa": "send_hello_world", "kwargs": {"name": "Ana"}},
}
"""What runs hold that Airflow stored as it was given."""

Caller = Callable[[str, str], str]


@pytest.fixture
def callers(deployment: Deployment, operator: httpx.Client) -> Iterator[dict[str, Caller]]:
    """Each way to start a run, by its id and whom it greets; the answer: `taken`, `refused`, or no more than `there`.

    The operator asks by all of them: the run of another user is refused.
    """
    settings = deployment.settings
    url = settings.url
    short = {"tarefa": "send_hello_world"}

    def by_service(call: dict[str, Any]) -> Caller:
        def start(run_id: str, name: str) -> str:
            answer = operator.post(
                "/queue-task", json={**call, "kwargs": {"name": name}, "run_id": run_id, "note": "a note"}
            )
            return {200: "taken", 201: "taken", 409: "refused"}[answer.status_code]

        return start

    def by_airflow(run_id: str, name: str) -> str:
        # As the UI's form asks.
        conf = {**short, "module": None, "function": None, "args": None, "kwargs": {"name": name}}
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        answer = operator.post(f"{url}{RUNS}", json=body)
        return {200: "taken", 409: "there"}[answer.status_code]

    def by_script(start: Callable[[str, dict[str, Any]], Any]) -> Caller:
        def ask(run_id: str, name: str) -> str:
            try:
                assert start(run_id, {"name": name}).run_id == run_id
            except RequestRefused:
                return "refused"
            return "taken"

        return ask

    with (
        AirflowClient(url, username="operator", password=settings.operator_password, cache=False) as client,
        requests.Session() as session,
    ):
        api = Api(session, url, "operator", settings.operator_password)

        def by_jobs(run_id: str, name: str) -> str:
            try:
                outcome = api.start(run_id, {**STORED, "kwargs": {"name": name}}, "a job")
            except RefusedError:
                return "refused"
            return "taken" if outcome is Outcome.STARTED else "there"

        yield {
            "queue-task": by_service(HELLO),
            "queue-task in short": by_service(short),
            "enqueue": by_script(
                lambda run_id, kwargs: client.enqueue(TASK, (), kwargs, run_id=run_id, note="another note")
            ),
            "the flags for DAGs": by_script(
                lambda run_id, kwargs: client.trigger(DAG, {**HELLO, "kwargs": kwargs}, run_id=run_id)
            ),
            "the flags in short": by_script(
                lambda run_id, kwargs: client.trigger(DAG, {**short, "kwargs": kwargs}, run_id=run_id)
            ),
            "dagRuns": by_airflow,
            "a job": by_jobs,
        }


def test_a_call_is_one_call_by_whatever_pair_of_callers(
    callers: dict[str, Caller], airflow: AirflowApi, operator: httpx.Client, metadata: psycopg.Connection
) -> None:
    def other(second: str) -> str:
        # Airflow's own API says no more than that the id is taken. A job takes a run of its own user for its own.
        return "there" if second in ("dagRuns", "a job") else "refused"

    def same(second: str) -> str:
        return "there" if second in ("dagRuns", "a job") else "taken"

    for number, first in enumerate([*callers, *BEFORE]):
        run_id = f"pair-{number}"
        if first in BEFORE:
            queue(operator, run_id, kwargs={"name": "Ana"})
            hold(metadata, run_id, BEFORE[first])
        else:
            assert callers[first](run_id, "Ana") == "taken", first
        held = airflow.call("GET", f"{RUNS}/{run_id}")["conf"]
        assert held == BEFORE.get(first, STORED), first
        assert {name: caller(run_id, "Ana") for name, caller in callers.items()} == {
            name: same(name) for name in callers
        }, first
        assert {name: caller(run_id, "Rui") for name, caller in callers.items()} == {
            name: other(name) for name in callers
        }, first
        assert airflow.call("GET", f"{RUNS}/{run_id}")["conf"] == held
    assert len(there(airflow, "pair-")) == len(callers) + len(BEFORE)
    assert operator.delete("/clean-queue").json()["removed"] >= len(callers) + len(BEFORE)
    assert there(airflow, "pair-") == set()


def hold(metadata: psycopg.Connection, run_id: str, conf: dict[str, Any]) -> None:
    """Let a run hold another conf."""
    metadata.execute(
        "UPDATE dag_run SET conf = %s WHERE dag_id = %s AND run_id = %s", (Jsonb(conf), DAG, run_id)
    )
    metadata.commit()


def test_a_delay_belongs_to_the_call_by_whatever_pair_of_roads(
    deployment: Deployment, operator: httpx.Client
) -> None:
    settings = deployment.settings

    def by_service(run_id: str, minutes: int) -> str:
        path, time = ("/schedule-task", {"minutes": minutes}) if minutes else ("/queue-task", {})
        answer = operator.post(path, json={**HELLO, **time, "run_id": run_id})
        return {200: "taken", 201: "taken", 409: "refused"}[answer.status_code]

    with AirflowClient(
        settings.url, username="operator", password=settings.operator_password, cache=False
    ) as client:

        def by_flags(run_id: str, minutes: int) -> str:
            try:
                client.trigger(
                    DAG, HELLO, run_id=run_id, delay=timedelta(minutes=minutes) if minutes else None
                )
            except RequestRefused:
                return "refused"
            return "taken"

        callers = (by_service, by_flags)
        for number, (first, minutes) in enumerate(product(callers, (0, 10))):
            run_id = f"delayed-{number}"
            assert first(run_id, minutes) == "taken"
            for second in callers:
                asked = {time: second(run_id, time) for time in (0, 10, 20)}
                assert asked == {time: "taken" if time == minutes else "refused" for time in asked}
    operator.delete("/clean-queue?scheduled=true")


def test_a_run_of_before_is_run_retried_and_copied(
    deployment: Deployment, airflow: AirflowApi, operator: httpx.Client, metadata: psycopg.Connection
) -> None:
    queue(operator, "before", kwargs={"name": "Ana"})
    hold(metadata, "before", BEFORE["by the service of before"])
    pause(airflow, False)
    try:
        assert ended(deployment, airflow, DAG, "before").state == "success"
        airflow.call("POST", f"{RUNS}/before/clear", json={"dry_run": False})
        assert ended(deployment, airflow, DAG, "before").state == "success"
        assert "Hello, Ana!" in log(airflow, DAG, "before", "executar", 2)
    finally:
        pause(airflow, True)
    held = airflow.call("GET", f"{RUNS}/before")["conf"]
    assert held == BEFORE["by the service of before"]
    copy = {"dag_run_id": "copied", "logical_date": None, "conf": held}
    assert airflow.call("POST", RUNS, json=copy)["conf"] == STORED


def test_no_run_is_made_for_a_wrong_call_by_either_api(
    users: dict[str, httpx.Client], deployment: Deployment, airflow: AirflowApi
) -> None:
    before = there(airflow, "")
    wrong = {"module": "hello_world", "function": "send_hello_word"}
    answer = users["operator"].post("/queue-task", json=wrong)
    assert answer.status_code == 422
    assert "did you mean send_hello_world?" in answer.json()["message"]
    triggered = f"{deployment.settings.url}{RUNS}"
    body = {"logical_date": None, "conf": wrong}
    refused = users["operator"].post(triggered, json=body)
    assert refused.status_code == 400
    assert "did you mean send_hello_world?" in refused.json()["detail"]
    assert users["viewer"].post(triggered, json=body).json() == {"detail": "Forbidden"}
    assert users["nobody"].post(triggered, json=body).status_code == 401
    assert there(airflow, "") == before


@pytest.mark.parametrize(
    "inner", ['"\\u0000"', '"\\ud800"', "NaN", "1e999", '"' + "a" * 1_000_000 + '"'], ids=len
)
def test_what_can_not_be_kept_is_refused_before_airflow_sees_it(operator: httpx.Client, inner: str) -> None:
    body = '{"tarefa": "send_hello_world", "args": [' + inner + "]}"
    answer = operator.post("/queue-task", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert set(answer.json()) == {"message"}


# clean-queue.


def test_it_takes_away_what_it_is_asked_for(
    operator: httpx.Client, airflow: AirflowApi, metadata: psycopg.Connection
) -> None:
    operator.delete("/clean-queue?scheduled=true")
    for name in ("low", "default", "high"):
        queue(operator, f"take-{name}", queue=name)
    operator.post("/schedule-task", json={**HELLO, "run_id": "take-later", "hours": 1, "queue": "low"})
    # Runs that have begun: waiting for a retry, queued for a retry, cleared, and running.
    begun = {"retry": "up_for_retry", "again": "queued", "cleared": None, "runs": "running"}
    for name, state in begun.items():
        queue(operator, f"take-{name}")
        metadata.execute(
            "UPDATE task_instance SET state = %s, start_date = now() WHERE dag_id = %s AND run_id = %s",
            (state, DAG, f"take-{name}"),
        )
    metadata.commit()
    kept = {f"take-{name}" for name in begun}

    assert operator.get("/clean-queue", params={"queue": "low"}).json() == {
        "message": "queue cleaned up",
        "removed": 1,
    }
    assert there(airflow, "take-") == {"take-default", "take-high", "take-later", *kept}
    assert operator.delete("/clean-queue").json()["removed"] == 2
    assert there(airflow, "take-") == {"take-later", *kept}
    assert operator.get("/clean-queue?scheduled=true&queue=high").json()["removed"] == 0
    assert operator.get("/clean-queue?scheduled=true").json()["removed"] == 1
    assert there(airflow, "take-") == kept
    [entry] = airflow.call(
        "GET", "/api/v2/eventLogs", params={"event": "clean_queue", "order_by": "-when", "limit": 1}
    )["event_logs"]
    assert (entry["owner"], json.loads(entry["extra"])["removed"]) == ("operator", 1)
    for run in kept:
        metadata.execute("DELETE FROM dag_run WHERE dag_id = %s AND run_id = %s", (DAG, run))
    metadata.commit()


START = "SELECT state FROM task_instance WHERE dag_id = %s AND run_id = %s FOR UPDATE"
"""The lock that Airflow takes first when a worker starts a task."""


def test_a_start_that_comes_first_keeps_its_run(
    deployment: Deployment, operator: httpx.Client, airflow: AirflowApi, metadata: psycopg.Connection
) -> None:
    for run in ("race-1", "race-2"):
        queue(operator, run)
    assert metadata.execute(START, (DAG, "race-1")).fetchone() == (None,)
    with ThreadPoolExecutor(1) as pool:
        cleaning = pool.submit(operator.get, "/clean-queue")
        until(deployment, lambda: waiting_for_locks(deployment) == 1)
        metadata.execute(
            "UPDATE task_instance SET state = 'running', start_date = now() WHERE dag_id = %s AND run_id = %s",
            (DAG, "race-1"),
        )
        metadata.commit()
        assert cleaning.result().json()["removed"] == 1
    assert there(airflow, "race-") == {"race-1"}
    metadata.execute("DELETE FROM dag_run WHERE dag_id = %s AND run_id = 'race-1'", (DAG,))
    metadata.commit()


def test_a_start_that_comes_later_finds_no_task(
    deployment: Deployment, operator: httpx.Client, airflow: AirflowApi, metadata: psycopg.Connection
) -> None:
    for run in ("race-1", "race-2"):
        queue(operator, run)
    # clean-queue has locked the first task and waits for the second, which another session has locked.
    assert metadata.execute(START, (DAG, "race-2")).fetchone() == (None,)
    dsn = deployment.settings.dsn(deployment.settings.metadata_database)
    with ThreadPoolExecutor(2) as pool, psycopg.connect(dsn) as worker:
        cleaning = pool.submit(operator.get, "/clean-queue")
        until(deployment, lambda: waiting_for_locks(deployment) == 1)
        starting = pool.submit(lambda: worker.execute(START, (DAG, "race-1")).fetchone())
        until(deployment, lambda: waiting_for_locks(deployment) == 2)
        metadata.rollback()
        assert cleaning.result().json()["removed"] == 2
        assert starting.result() is None, "the worker is answered 404"
    assert there(airflow, "race-") == set()


def waiting_for_locks(deployment: Deployment) -> int:
    """Return how many sessions of the metadata database wait for another session's lock."""
    with psycopg.connect(deployment.settings.dsn(deployment.settings.metadata_database)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s",
            ("%task_instance%",),
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_while_a_worker_takes_runs_each_runs_once_or_is_gone(
    deployment: Deployment, operator: httpx.Client, airflow: AirflowApi, metadata: psycopg.Connection
) -> None:
    worker = next(one for one in deployment.supervisor.servers if one.name == "worker")
    told_before = worker.log.read_text().count("Task Instance not found")
    made = {f"busy-{number}" for number in range(20)}
    pause(airflow, False)
    try:
        for run in sorted(made):
            queue(operator, run, queue="low")

        def begun() -> set[str]:
            rows = metadata.execute(
                "SELECT run_id FROM task_instance WHERE dag_id = %s AND start_date IS NOT NULL", (DAG,)
            ).fetchall()
            metadata.commit()
            return {run for (run,) in rows} & made

        # Some run, some wait in Celery, some may still wait in the scheduler.
        until(deployment, lambda: len(begun()) >= 2)
        removed = operator.get("/clean-queue?queue=low").json()["removed"]
        left = there(airflow, "busy-")
        assert removed > 0
        assert len(left) + removed == len(made)
        for run in left:
            assert ended(deployment, airflow, DAG, run).state == "success"
        # A worker has taken each message for a removed run, and the scheduler still works.
        with broker(deployment) as queues:
            until(deployment, lambda: queues.llen("low") == 0)
        assert there(airflow, "busy-") == left
        starts = metadata.execute(
            "SELECT run_id, count(*) FROM log WHERE dag_id = %s AND event = 'running' AND run_id LIKE 'busy-%%'"
            " GROUP BY run_id",
            (DAG,),
        ).fetchall()
        assert dict(starts) == dict.fromkeys(left, 1), "none that is gone has begun"
        queue(operator, "busy-after")
        assert ended(deployment, airflow, DAG, "busy-after").state == "success"
        assert worker.log.read_text().count("Task Instance not found") > told_before
        health = airflow.call("GET", "/api/v2/monitor/health")
        assert health["scheduler"]["status"] == "healthy"
    finally:
        pause(airflow, True)


# The OpenAPI document and its page.


def test_the_description_holds_in_every_case(
    deployment: Deployment, users: dict[str, httpx.Client], airflow: AirflowApi, tmp_path: Path
) -> None:
    document = users["admin"].get("/openapi.json")
    (tmp_path / "openapi.json").write_text(document.text)
    operations = [(path, method) for path, methods in document.json()["paths"].items() for method in methods]
    jobs = {job["name"] for job in users["admin"].get("/jobs").json()}
    token = users["operator"].headers["Authorization"].removeprefix("Bearer ")
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", str(ROOT / "tests" / "e2e" / "schemathesis.toml")),
                *("run", "openapi.json", "--url", f"{deployment.settings.url}/scheduler", "--checks", "all"),
            ],
            cwd=tmp_path,
            env={**os.environ, "SCHEDULER_TOKEN": token},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        users["admin"].delete("/clean-queue?scheduled=true")
        for job in users["admin"].get("/jobs").json():
            if job["name"] not in jobs:
                users["admin"].delete(f"/jobs/{job['name']}")
    assert done.returncode == 0, done.stdout
    assert f"Tested: {len(operations)}" in done.stdout
    assert token not in done.stdout


def test_the_page_shows_each_call_and_loads_nothing_from_elsewhere(
    deployment: Deployment, users: dict[str, httpx.Client]
) -> None:
    paths = users["viewer"].get("/openapi.json").json()["paths"]
    url = deployment.settings.url
    token = users["viewer"].headers["Authorization"].removeprefix("Bearer ")
    with chromium() as browser:
        context = browser.new_context()
        assert context.request.get(f"{url}/scheduler/docs").status == 401
        context.add_cookies([{"name": "_token", "value": token, "url": url}])
        page = context.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url}/scheduler/docs")
        page.wait_for_selector(".opblock")
        shown = {
            (block.locator(".opblock-summary-method").inner_text().lower(), path)
            for block in page.locator(".opblock-summary").all()
            if (path := block.locator(".opblock-summary-path").get_attribute("data-path"))
        }
        # Requests from the page: the cookie allows some of them and not others.
        answers = {}
        for operation in ("tasks-list_modules", "queue-clean_queue_by_get"):
            block = page.locator(f"#operations-{operation}")
            block.locator(".opblock-summary-control").click()
            block.locator("button.execute").click()
            status = block.locator(".live-responses-table tbody .response-col_status")
            status.wait_for()
            answers[operation] = status.inner_text().strip()
    assert shown == {(method, path) for path, methods in paths.items() for method in methods}
    assert answers == {"tasks-list_modules": "200", "queue-clean_queue_by_get": "401"}
    assert {httpx.URL(one).copy_with(raw_path=b"/") for one in asked if not one.startswith("data:")} == {
        httpx.URL(f"{url}/")
    }
    assert [one for one in complaints if "401" not in one] == []
