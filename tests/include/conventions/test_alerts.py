"""Alerts against real servers: what they say, when they are told again, and that nothing about them fails a task."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from include.conventions import alerts
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import concerning
from local.servers.redis import Redis
from local.servers.server import free_port
from tests.receivers import TOKEN, Mailbox, Webhook

PASSWORD = "turns"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    folder = tmp_path_factory.mktemp("broker")
    with Redis(folder / "data", free_port(), PASSWORD, folder / "log") as server:
        yield server


@pytest.fixture
def turns(broker: Redis, monkeypatch: pytest.MonkeyPatch) -> redis.Redis:
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", f"redis://:{PASSWORD}@127.0.0.1:{broker.port}/0")
    client = redis.Redis(port=broker.port, password=PASSWORD, decode_responses=True)
    client.flushdb()
    return client


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with Webhook() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_ALERTAS", json.dumps(server.connection))
        yield server


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with Mailbox() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_ALERTAS", json.dumps(server.connection))
        monkeypatch.setenv("ALERTAS_EMAIL_PARA", "a@example.com, b@example.com")
        yield server


def failed(error: object = None, **fields: Any) -> dict[str, Any]:
    instance = {
        "dag_id": "etl_vendas",
        "run_id": "run 1",
        "task_id": "mirror",
        "map_index": -1,
        "try_number": 2,
        "max_tries": 3,
        "log_url": "http://airflow.example/dags/etl_vendas/runs/run%201",
    }
    return {"ti": SimpleNamespace(**instance | fields), "exception": error}


def test_an_alert_says_where_what_and_why(turns, webhook, mailbox):
    try:
        raise ValueError("first line\nthe last line & <!channel>")
    except ValueError as error:
        alerts.on_failure(failed(error, map_index=4))
    expected = [
        "DAG: etl_vendas",
        "Run: run 1",
        "Task: mirror[4]",
        "Try: 2 of 4",
        "Error: the last line &amp; &lt;!channel&gt;",
        "Log: http://airflow.example/dags/etl_vendas/runs/run%201",
    ]
    [(path, body)] = webhook.posts
    assert path == f"/{TOKEN}"
    assert body["text"].splitlines() == ["*etl_vendas.mirror failed*", *expected]
    [text] = mailbox.texts()
    assert text.replace("<br>", "").splitlines() == ["[Airflow] etl_vendas.mirror failed", *expected]
    assert mailbox.messages[0]["To"] == "a@example.com, b@example.com"


def test_one_channel_is_enough(turns, webhook):
    alerts.on_retry(failed("boom"))
    assert [text.splitlines()[0] for text in webhook.texts()] == ["*etl_vendas.mirror will be retried*"]


def test_without_a_connection_nothing_is_asked_for(monkeypatch, caplog):
    # Nobody answers there: asking for a turn would be logged.
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")
    with caplog.at_level(logging.INFO):
        alerts.on_failure(failed("boom"))
    assert caplog.records == []


def test_the_same_is_told_once_in_a_window(turns, webhook):
    for index in range(3):
        alerts.on_failure(failed("boom", map_index=index, run_id=f"run {index}"))
    alerts.on_retry(failed("boom"))
    alerts.on_failure(failed("boom", task_id="check"))
    assert [text.splitlines()[0] for text in webhook.texts()] == [
        "*etl_vendas.mirror failed*",
        "*etl_vendas.mirror will be retried*",
        "*etl_vendas.check failed*",
    ]
    assert set(turns.keys()) == {
        "alertas:etl_vendas:mirror:failure",
        "alertas:etl_vendas:mirror:retry",
        "alertas:etl_vendas:check:failure",
    }
    assert all(0 < turns.ttl(turn) <= 3600 for turn in turns.scan_iter())
    turns.flushdb()  # what the end of the window does
    alerts.on_failure(failed("boom"))
    assert len(webhook.posts) == 4


TELLER = """
from types import SimpleNamespace
from include.conventions import alerts
instance = dict(dag_id="etl_vendas", run_id="run 1", task_id="mirror", map_index=-1, try_number=1, log_url="")
alerts.on_failure({"ti": SimpleNamespace(**instance), "exception": "boom"})
"""


def test_a_process_that_dies_while_it_tells_takes_no_turn_for_a_whole_window(turns, webhook, monkeypatch):
    monkeypatch.setenv("ALERTAS_PACIENCIA_SEGUNDOS", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = {**webhook.connection, "host": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        teller = subprocess.Popen(
            [sys.executable, "-c", TELLER],
            env={**os.environ, "AIRFLOW_CONN_SLACK_ALERTAS": json.dumps(connection)}
            | {"ALERTAS_PACIENCIA_SEGUNDOS": "5", "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        silent.settimeout(60)
        silent.accept()
        teller.kill()
        teller.wait()
    [turn] = turns.keys()
    assert 0 < turns.ttl(turn) <= 15
    alerts.on_failure(failed("boom"))
    assert webhook.posts == []
    turns.delete(turn)  # what its end does
    alerts.on_failure(failed("boom"))
    assert len(webhook.posts) == 1
    assert turns.ttl(turn) > 3000


def test_an_error_that_says_what_it_is_about_is_told_once_for_each(turns, webhook):
    for name in ("job-a", "job-b", "job-a"):
        alerts.on_failure(failed(concerning(name, RuntimeError(f"{name} is wrong"))))
    assert [text.splitlines()[5] for text in webhook.texts()] == [
        "Error: RuntimeError: job-a is wrong",
        "Error: RuntimeError: job-b is wrong",
    ]
    assert "Task: mirror (job-a)" in webhook.texts()[0]
    # The run, whose task has told, adds nothing.
    alerts.on_run_failure(failed_run("run 9"))
    assert len(webhook.posts) == 2


def test_a_channel_that_refuses_fails_nothing_and_leaves_the_turn_to_the_next(turns, webhook, caplog):
    webhook.status = 500
    alerts.on_failure(failed("boom"))
    assert "the alert 'etl_vendas.mirror failed' could not be sent through slack_alertas" in caplog.text
    assert TOKEN not in caplog.text
    webhook.status = 200
    alerts.on_failure(failed("boom"))
    assert len(webhook.posts) == 2


def test_a_server_that_never_answers_holds_up_neither_the_task_nor_the_other_channel(
    turns, webhook, mailbox, monkeypatch, caplog
):
    monkeypatch.setenv("ALERTAS_PACIENCIA_SEGUNDOS", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = mailbox.connection | {"port": silent.getsockname()[1]}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_ALERTAS", json.dumps(connection))
        alerts.on_failure(failed("boom"))
    assert len(webhook.posts) == 1
    assert "the alert 'etl_vendas.mirror failed' took smtp_alertas more than 1 s" in caplog.text


def test_without_the_broker_an_alert_is_told_rather_than_lost(webhook, monkeypatch, caplog):
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")
    alerts.on_failure(failed("boom"))
    assert len(webhook.posts) == 1
    assert "the broker does not say which alerts were sent already" in caplog.text


@pytest.mark.parametrize("variable", ["ALERTAS_JANELA_SEGUNDOS", "ALERTAS_PACIENCIA_SEGUNDOS"])
@pytest.mark.parametrize("value", ["0", "soon", "-1"])
def test_settings_that_make_no_sense_are_logged_and_fail_nothing(
    webhook, monkeypatch, caplog, variable, value
):
    monkeypatch.setenv(variable, value)
    alerts.on_failure(failed("boom"))
    assert f"{variable} is '{value}'; it must be a whole number of at least 1" in caplog.text
    assert webhook.posts == []


def test_an_e_mail_to_nobody_is_logged(turns, mailbox, monkeypatch, caplog):
    monkeypatch.setenv("ALERTAS_EMAIL_PARA", " , ")
    alerts.on_failure(failed("boom"))
    assert "connection smtp_alertas is defined, but ALERTAS_EMAIL_PARA is empty" in caplog.text
    assert mailbox.messages == []


@pytest.mark.parametrize("error", [None, "", "\n", ValueError()])
def test_an_error_without_a_message_still_gives_one(turns, webhook, error):
    alerts.on_failure(failed(error))
    [text] = webhook.texts()
    assert "\nError: " in text
    assert "\nError: \n" not in text


def test_secrets_that_airflow_knows_are_masked_and_a_long_error_is_cut(turns, webhook):
    from airflow.sdk.log import mask_secret

    mask_secret("a-secret-of-the-source")
    alerts.on_failure(failed(RuntimeError("no way in with a-secret-of-the-source" + "x" * 5000)))
    [text] = webhook.texts()
    assert "no way in with ***" in text
    assert "a-secret-of-the-source" not in text
    assert len(text) < 1000


def failed_run(run: str) -> dict[str, Any]:
    return {"dag": SimpleNamespace(dag_id="etl_vendas"), "run_id": run, "reason": "task_failure"}


def test_a_run_tells_only_what_no_task_of_its_told(turns, webhook):
    alerts.on_run_failure(failed_run("run 1"))
    alerts.on_run_failure(failed_run("run 2"))
    [text] = webhook.texts()
    assert text.splitlines()[:3] == ["*etl_vendas failed*", "DAG: etl_vendas", "Run: run 1"]
    assert "Error: a task ended without an error message (task_failure)" in text
    assert "/dags/etl_vendas/runs/run%201" in text
    turns.flushdb()
    alerts.on_retry(failed("boom"))
    alerts.on_failure(failed("boom", dag_id="etl_vendas_2"))
    alerts.on_run_failure(failed_run("run 3"))
    assert webhook.texts()[-1].splitlines()[0] == "*etl_vendas failed*"
    turns.flushdb()
    alerts.on_failure(failed("boom"))
    alerts.on_run_failure(failed_run("run 4"))
    assert webhook.texts()[-1].splitlines()[0] == "*etl_vendas.mirror failed*"


@pytest.mark.parametrize(("state", "told"), [("queued", 1), ("running", 1), ("failed", 0), ("success", 0)])
def test_a_run_that_is_over_is_not_late(turns, webhook, state, told):
    run = {"dag_id": "etl_vendas", "dag_run_id": "run 1", "state": state}
    asyncio.run(
        alerts.on_deadline(
            {"dag_run": run, "deadline": {"id": "1", "deadline_time": "2026-01-01 00:15:00+00:00"}}
        )
    )
    assert len(webhook.posts) == told
    for text in webhook.texts():
        assert text.splitlines()[0] == "*etl_vendas is late*"
        assert f"Error: the run should have been over by 2026-01-01 00:15:00+00:00, and is {state}" in text


def test_a_dag_keeps_the_callbacks_of_its_own():
    from airflow.sdk import DAG, Context

    def own(_: Context) -> None: ...

    cases: list[tuple[Any, list[Any]]] = [(None, []), (own, [own]), ([own], [own])]
    for before, after in cases:
        dag = DAG("a_dag", schedule=None, on_failure_callback=before)
        for _ in range(2):
            alerts.announce_failures(dag)
        assert dag.on_failure_callback == [*after, alerts.on_run_failure]
        assert dag.has_on_failure_callback


def test_every_dag_gets_the_callbacks():
    assert DEFAULT_ARGS["on_failure_callback"] == [alerts.on_failure]
    assert DEFAULT_ARGS["on_retry_callback"] == [alerts.on_retry]


def test_importing_the_conventions_loads_no_provider(tmp_path: Path):
    program = (
        "import sys, include.conventions.defaults\n"
        "print([name for name in ('airflow', 'redis', 'slack_sdk', 'celery') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])},
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stdout.strip() == "[]"


def test_a_file_that_does_not_load_is_told_of_once_in_a_window(
    turns: redis.Redis, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.listeners.listener import ListenerManager

    from plugins.alerts_plugin import AlertsPlugin

    manager = ListenerManager()
    for listener in AlertsPlugin.listeners:
        manager.add_listener(listener)
    trace = "Traceback (most recent call last):\n  File …\nModuleNotFoundError: No module named 'include.vendas.tabels'"
    manager.hook.on_new_dag_import_error(filename="/opt/dags/vendas/etl_vendas.py", stacktrace=trace)
    manager.hook.on_existing_dag_import_error(filename="/opt/dags/vendas/etl_vendas.py", stacktrace=trace)
    assert "no alert was sent" not in caplog.text
    [(_, told)] = webhook.posts
    text = json.dumps(told)
    assert "etl_vendas.py does not load" in text
    assert "ModuleNotFoundError: No module named 'include.vendas.tabels'" in text
    assert turns.keys() == ["alertas:etl_vendas.py::import"]


def test_only_a_run_that_failed_in_time_loses_its_deadline() -> None:
    """The UI lists every deadline that has passed as missed."""
    from airflow.models import DagRun, import_all_models
    from airflow.models.base import Base
    from airflow.models.deadline import Deadline
    from airflow.sdk.definitions.callback import AsyncCallback
    from sqlalchemy import create_engine, select
    from sqlalchemy.orm import Session
    from sqlalchemy.pool import StaticPool

    from plugins.alerts_plugin import AlertsPlugin

    import_all_models()
    database = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(database)
    began = datetime(2026, 1, 1, tzinfo=UTC)
    with Session(database) as session:
        for name, seconds in (("in-time", 30), ("late", 90)):
            run = DagRun(
                dag_id="etl_vendas", run_id=name, run_type="manual", run_after=began, start_date=began
            )
            session.add(run)
            session.flush()
            session.add(
                Deadline(
                    began + timedelta(seconds=60),
                    AsyncCallback(alerts.on_deadline),
                    run.id,
                    deadline_alert_id=None,
                )
            )
            session.flush()
            run.state, run.end_date = "failed", began + timedelta(seconds=seconds)
            for listener in AlertsPlugin.listeners:
                if hasattr(listener, "on_dag_run_failed"):
                    listener.on_dag_run_failed(run)
        session.commit()
        left = session.scalars(select(DagRun.run_id).join(Deadline, Deadline.dagrun_id == DagRun.id)).all()
    assert left == ["late"]
