"""The jobs of the service: made, changed and removed in a real PostgreSQL, and every wrong wish with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from include.tarefas.jobs.schedule import Schedule
from include.tarefas.jobs.store import Store
from tests.include.tarefas.jobs.conftest import dsn  # noqa: F401

pytestmark = [pytest.mark.filterwarnings("ignore:Using `httpx` with"), pytest.mark.usefixtures("connection")]

JOB: dict[str, Any] = {
    "name": "news",
    "task": "tools.send",
    "kwargs": {"email": "ana@example.com"},
    "cron": "30 8 * * mon-fri",
}
ZONE = "America/Sao_Paulo"


@pytest.fixture
def connection(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The connection of the jobs leads to the test's database."""
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_JOBS", dsn)


def write(dsn: str, statement: str) -> None:  # noqa: F811
    with psycopg.connect(dsn) as connection:
        connection.execute(statement)


def test_a_job_is_made_with_its_next_due_time_and_can_be_read(
    operator: TestClient, viewer: TestClient
) -> None:
    made = operator.post("/jobs", json={**JOB, "timezone": ZONE, "queue": "low", "missed": "all"})
    assert made.status_code == 201
    job = made.json()
    due = datetime.fromisoformat(job.pop("next_run_at"))
    assert due == Schedule(JOB["cron"], ZONE).after(datetime.now(UTC))
    assert job == {
        **JOB,
        "args": [],
        "timezone": ZONE,
        "queue": "low",
        "missed": "all",
        "enabled": True,
        "last_run_at": None,
        "last_state": None,
        "outcome": None,
        "outcome_run_at": None,
        "outcome_at": None,
        "outcome_reason": None,
        "last_error": None,
        "created_by": "olga",
        "changed_by": None,
    }
    assert viewer.get("/jobs/news").json() == made.json()
    assert viewer.get("/jobs").json() == [made.json()]


@pytest.mark.parametrize(
    "named",
    [
        {"task": "tools.send"},
        {"tarefa": "send"},
        {"tarefa": "tools.send"},
        {"module": "tools", "function": "send"},
    ],
    ids=str,
)
def test_an_automation_may_be_named_in_each_way(operator: TestClient, named: dict[str, str]) -> None:
    wish = {key: value for key, value in JOB.items() if key != "task"} | named
    assert operator.post("/jobs", json=wish).json()["task"] == "tools.send"
    changed = operator.patch("/jobs/news", json=named).json()
    assert (changed["task"], changed["kwargs"]) == ("tools.send", JOB["kwargs"])


def test_a_name_is_given_once(operator: TestClient) -> None:
    assert operator.post("/jobs", json=JOB).status_code == 201
    again = operator.post("/jobs", json={**JOB, "cron": "* * * * *"})
    assert again.status_code == 409
    assert again.json()["message"] == "there is a job 'news' already; change it, or remove it first"
    assert operator.get("/jobs/news").json()["cron"] == JOB["cron"]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "../etc"}, "name"),
        ({"name": "a..b"}, "without two dots in a row"),
        ({"name": "."}, "without two dots in a row"),
        ({"name": "x" * 101}, "name"),
        ({"name": None}, "name"),
        ({"cron": "* * * * * *"}, "jobs are due by the minute, not by the second"),
        ({"cron": "0 0 30 2 *"}, "never comes"),
        ({"cron": "soon"}, "write five fields"),
        ({"cron": "0 0 * * \0"}, "cron"),
        ({"timezone": "Sao_Paulo"}, "write it like America/Sao_Paulo or UTC"),
        ({"timezone": "UTC\0"}, "is not known"),
        ({"task": "tools.sent"}, "did you mean send?"),
        ({"task": "tools.send", "tarefa": "send"}, "give one of task, tarefa, or module and function"),
        ({"task": ""}, "tarefa"),
        ({"task": None}, "say which automation"),
        ({"enabled": False, "cron": "soon"}, "write five fields"),
        ({"enabled": False, "timezone": "Sao_Paulo"}, "write it like America/Sao_Paulo or UTC"),
        ({"kwargs": {}}, "missing a required argument: 'email'"),
        ({"kwargs": {"email": 5}}, "email must be str, not 5"),
        ({"kwargs": {"email": "a\0b"}}, "U+0000"),
        ({"queue": "urgent"}, "queue"),
        ({"missed": "never"}, "missed"),
        ({"enabled": "perhaps"}, "enabled"),
        ({"next_run_at": "2026-01-01T00:00:00Z"}, 'there is no field "next_run_at"'),
    ],
    ids=str,
)
def test_a_wish_that_makes_no_sense_is_named(operator: TestClient, wish: dict[str, Any], said: str) -> None:
    refused = operator.post("/jobs", json={**JOB, **wish})
    assert refused.status_code == 422, refused.text
    assert said in refused.json()["message"]
    assert operator.get("/jobs").json() == []
    if "name" not in wish and wish != {"task": None}:
        operator.post("/jobs", json=JOB).raise_for_status()
        before = operator.get("/jobs/news").json()
        refused = operator.patch("/jobs/news", json=wish)
        assert refused.status_code == 422
        assert said in refused.json()["message"]
        assert operator.get("/jobs/news").json() == before


@pytest.mark.parametrize("name", ["other", "%00", "a%20b", "x" * 200])
def test_a_job_that_is_not_there(operator: TestClient, name: str) -> None:
    for answer in (
        operator.get(f"/jobs/{name}"),
        operator.patch(f"/jobs/{name}", json={}),
        operator.delete(f"/jobs/{name}"),
    ):
        assert answer.status_code == 404
        assert answer.json()["message"].startswith("there is no job ")


def test_a_job_has_the_name_that_it_was_made_with(operator: TestClient) -> None:
    operator.post("/jobs", json=JOB).raise_for_status()
    refused = operator.patch("/jobs/news", json={"name": "old"})
    assert (refused.status_code, refused.json()) == (422, {"message": 'there is no field "name"'})


def test_what_is_changed_decides_when_it_is_due(operator: TestClient, dsn: str) -> None:  # noqa: F811
    operator.post("/jobs", json=JOB).raise_for_status()
    write(
        dsn, "UPDATE jobs SET next_run_at = '2026-01-01T08:30Z', last_error = 'gone', told_by = 'scheduled'"
    )
    owed = "2026-01-01T08:30:00Z"
    # What it owes stays owed, and its error is forgotten.
    same = operator.patch(
        "/jobs/news", json={"kwargs": {"email": "eva@example.com"}, "cron": JOB["cron"]}
    ).json()
    assert (same["next_run_at"], same["last_error"]) == (owed, None)
    assert same["kwargs"] == {"email": "eva@example.com"}
    # By another clock, or after a pause, it begins anew.
    moved = operator.patch("/jobs/news", json={"timezone": ZONE}).json()
    due = Schedule(JOB["cron"], ZONE).after(datetime.now(UTC))
    assert datetime.fromisoformat(moved["next_run_at"]) == due
    paused = operator.patch("/jobs/news", json={"enabled": False}).json()
    assert (paused["enabled"], paused["next_run_at"]) == (False, None)
    write(dsn, "UPDATE jobs SET next_run_at = '2026-01-01T08:30Z'")
    resumed = operator.patch("/jobs/news", json={"enabled": True}).json()
    assert datetime.fromisoformat(resumed["next_run_at"]) == due


def test_the_last_outcome_comes_with_its_time_and_its_reason(
    operator: TestClient,
    viewer: TestClient,
    dsn: str,  # noqa: F811
) -> None:
    operator.post("/jobs", json=JOB).raise_for_status()
    write(
        dsn,
        "UPDATE jobs SET last_run_at = '2026-11-20T11:31Z', last_state = 'running', outcome = 'failed',"
        " outcome_run_at = '2026-11-20T11:30Z', outcome_at = '2026-11-20T11:30:12Z'",
    )
    job = viewer.get("/jobs/news").json()
    assert (job["last_state"], job["outcome"], job["outcome_at"]) == (
        "running",
        "failed",
        "2026-11-20T11:30:12Z",
    )
    # The run was killed, or it was removed from Airflow meanwhile.
    assert job["outcome_reason"] is None
    with Store(dsn) as store:
        run_id = store.job("news").run_id(datetime(2026, 11, 20, 11, 30, tzinfo=UTC))
    with leave_error(run_id, "ValueError: no such customer"):
        [job] = viewer.get("/jobs").json()
    assert job["outcome_reason"] == "ValueError: no such customer"


@contextmanager
def leave_error(run_id: str, error: str) -> Iterator[None]:
    """Store an error in Airflow's database as a run's task does."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete, insert

    row = {"dag_run_id": 1, "dag_id": "executar_tarefa", "task_id": "executar", "map_index": -1}
    with create_session() as session:
        # There is neither the run nor its task.
        session.connection().exec_driver_sql("PRAGMA foreign_keys = OFF")
        session.execute(insert(XComModel).values(**row, run_id=run_id, key="error", value=error))
        session.commit()
        session.connection().exec_driver_sql("PRAGMA foreign_keys = ON")
    try:
        yield
    finally:
        with create_session() as session:
            session.execute(delete(XComModel).where(XComModel.run_id == run_id))


@pytest.fixture
def audited(tokens: dict[str, str]) -> Callable[[], list[Any]]:
    """A function that returns this test's entries of the audit log: event, user, DAG and details."""
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

    def read() -> list[Any]:
        with create_session() as session:
            entries = session.scalars(select(Log).order_by(Log.id)).all()
            return [
                (str(one.event), str(one.owner), str(one.dag_id), json.loads(one.extra or ""))
                for one in entries
            ]

    with create_session() as session:
        session.execute(delete(Log))
    return read


def test_each_change_is_in_the_audit_log_and_the_job_has_its_author(
    operator: TestClient, audited: Callable[[], list[Any]]
) -> None:
    operator.post("/jobs", json={**JOB, "kwargs": {"email": "ana@example.com"}}).raise_for_status()
    paused = operator.patch("/jobs/news", json={"enabled": False}).json()
    assert (paused["created_by"], paused["changed_by"]) == ("olga", "olga")
    operator.delete("/jobs/news").raise_for_status()
    assert audited() == [
        ("add_job", "olga", "agendar_jobs", JOB),
        ("change_job", "olga", "agendar_jobs", {"name": "news", "enabled": False}),
        ("remove_job", "olga", "agendar_jobs", {"name": "news"}),
    ]


def test_a_refused_change_is_not_in_the_audit_log(
    operator: TestClient, viewer: TestClient, audited: Callable[[], list[Any]]
) -> None:
    operator.post("/jobs", json=JOB).raise_for_status()
    for answer in (
        operator.post("/jobs", json=JOB),
        operator.patch("/jobs/news", json={"cron": "soon"}),
        operator.patch("/jobs/other", json={"enabled": False}),
        operator.delete("/jobs/other"),
        viewer.delete("/jobs/news"),
    ):
        assert answer.is_client_error
    assert [event for event, *_ in audited()] == ["add_job"]


def test_secrets_that_airflow_knows_are_not_in_the_audit_log(
    operator: TestClient, audited: Callable[[], list[Any]]
) -> None:
    call = {"task": "tools.keep", "kwargs": {"anything": {"password": "hunter2"}}}
    operator.post("/jobs", json={**JOB, **call}).raise_for_status()
    [(_, _, _, details)] = audited()
    assert "hunter2" not in json.dumps(details)
    assert details["task"] == "tools.keep"


def test_a_removed_job_is_gone(operator: TestClient) -> None:
    operator.post("/jobs", json=JOB).raise_for_status()
    assert operator.delete("/jobs/news").json() == {"message": "job news removed"}
    assert operator.get("/jobs").json() == []


def test_a_row_that_was_made_wrong_by_hand_can_be_read_paused_mended_and_removed(
    operator: TestClient,
    dsn: str,  # noqa: F811
) -> None:
    write(dsn, "INSERT INTO jobs (name, task, cron, timezone, queue) VALUES ('wrong', '?', '?', '?', '?')")
    assert operator.get("/jobs/wrong").json()["cron"] == "?"
    assert operator.patch("/jobs/wrong", json={"queue": "low"}).status_code == 422
    for _ in range(2):
        paused = operator.patch("/jobs/wrong", json={"enabled": False})
        assert (paused.status_code, paused.json()["enabled"], paused.json()["cron"]) == (200, False, "?")
    call = {key: JOB[key] for key in ("task", "kwargs")} | {"queue": "low"}
    assert operator.patch("/jobs/wrong", json=call).json()["task"] == "tools.send"
    assert operator.patch("/jobs/wrong", json={"enabled": True}).status_code == 422
    mended = operator.patch("/jobs/wrong", json={"enabled": True, "cron": "* * * * *", "timezone": "UTC"})
    assert mended.status_code == 200
    assert operator.delete("/jobs/wrong").status_code == 200


def test_a_job_that_is_being_started_is_waited_for(operator: TestClient, dsn: str) -> None:  # noqa: F811
    operator.post("/jobs", json=JOB).raise_for_status()
    with Store(dsn) as store, store.claim(datetime.now(UTC) + timedelta(days=9), excluding=[]) as claim:
        assert claim is not None
        busy = operator.patch("/jobs/news", json={"enabled": False})
    assert busy.status_code == 503
    assert busy.json()["message"] == "the job is being started at this moment; try again"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgres://jobs:secret@127.0.0.1:9/jobs", "the jobs' database does not answer: "),
        (
            "postgres://jobs:secret@127.0.0.1:9/jobs?imagine=x",
            "connection postgres_jobs: invalid connection option",
        ),
        (None, "connection postgres_jobs is not defined"),
    ],
)
def test_a_database_that_is_away_is_said(
    operator: TestClient, monkeypatch: pytest.MonkeyPatch, uri: str | None, said: str
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_POSTGRES_JOBS")
    if uri:
        monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_JOBS", uri)
    for answer in (operator.get("/jobs"), operator.post("/jobs", json=JOB), operator.delete("/jobs/news")):
        assert answer.status_code == 503
        assert said in answer.json()["message"]
        assert "secret" not in answer.text


def test_a_database_without_the_table_says_what_to_run(operator: TestClient, dsn: str) -> None:  # noqa: F811
    write(dsn, "DROP TABLE jobs")
    assert "run python -m deploy.prepare" in operator.get("/jobs").json()["message"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_a_viewer_changes_nothing(operator: TestClient, viewer: TestClient, method: str) -> None:
    operator.post("/jobs", json=JOB).raise_for_status()
    path = "/jobs" if method == "POST" else "/jobs/news"
    assert viewer.request(method, path, json={**JOB, "name": "mine"}).status_code == 403
    assert [job["name"] for job in operator.get("/jobs").json()] == ["news"]
