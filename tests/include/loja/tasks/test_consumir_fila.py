"""The tasks of the queue workers, through Airflow's connections, on real servers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pymysql.connections import Connection

from include.conventions.errors import ConfigurationError
from include.loja.connections import rabbitmq
from include.loja.errors import UnfinishedError
from include.loja.queues.inbox import Metrics, metrics
from include.loja.queues.message import Broker
from include.loja.queues.report import record_metrics, write
from include.loja.queues.waiting import AGAIN, MessagesWait
from include.loja.settings import Queues
from include.loja.tasks import consumir_fila as tasks
from local.demos.publish import main
from local.servers.aws import AWS
from local.servers.rabbitmq import RabbitMQ
from tests.include.loja.queues.letters import assert_stored_once, ids

ROOT = Path(__file__).resolve().parents[4]
QUEUES = ["produto-fila", "pedido-fila", "usuario-fila"]
SETTINGS = Queues(timedelta(0), timedelta(seconds=30), timedelta(seconds=30), timedelta(seconds=1))
NOTHING = {"total": 0, "sucessos": 0, "falhas": 0, "taxa": None}


@pytest.fixture
def connections(described: None, rabbitmq_server: RabbitMQ, aws: AWS) -> Iterator[None]:
    """Airflow's connections to all of them, and no queue that another test left."""
    with rabbitmq_server.connect() as connected:
        for queue in QUEUES:
            for suffix in ("", "-espera", "-mortas"):
                connected.channel().queue_delete(queue + suffix)
    client = aws.client("sqs")
    for url in client.list_queues().get("QueueUrls", []):
        client.delete_queue(QueueUrl=url)
    yield
    client.close()


def publish(*arguments: str) -> str:
    """Run the publisher as people do."""
    done = subprocess.run(
        [sys.executable, "-m", "local.demos.publish", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("broker", ["rabbitmq", "sqs"])
def test_a_run_takes_what_is_published_and_reports_it(
    broker: Broker,
    connections: None,
    loja: Connection[Any],
    warehouse: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[dict[str, Metrics]] = []
    monkeypatch.setattr(
        tasks, "record_metrics", lambda _broker, _numbers, uncounted: counted.append(uncounted)
    )
    said = publish("--broker", broker, "--count", "45", "--poison", "2")
    assert said.splitlines()[-1].startswith(f"47 messages in produto-fila ({broker}), ")
    planned = tasks.plan(SETTINGS, broker, "run", QUEUES, 3, 20, revive=False)
    assert planned == [{"fila": "produto-fila", "numero": number} for number in (1, 2, 3)]
    for consumer in planned:
        tasks.work(SETTINGS, broker, "run", consumer["fila"], 20, 60)
    expected = {
        "produto-fila": {"total": 47, "sucessos": 45, "falhas": 2, "taxa": 45 / 47},
        "pedido-fila": NOTHING,
        "usuario-fila": NOTHING,
    }
    # A second time changes nothing: a retried task reports the same.
    for _ in range(2):
        assert tasks.measure(broker, "run", QUEUES, 0) == expected
    assert [one["produto-fila"] for one in counted] == [metrics(45, 2), metrics(0, 0)]
    # Far from the ids that criacao_produtos gives.
    assert_stored_once(loja, ids(1_000_001, 1_000_045))
    with psycopg.connect(warehouse) as connection:
        rows = connection.execute(
            "SELECT fila, total, sucessos, falhas, taxa::text FROM metricas_filas ORDER BY fila"
        ).fetchall()
    assert rows == [
        ("pedido-fila", 0, 0, 0, None),
        ("produto-fila", 47, 45, 2, "0.957447"),
        ("usuario-fila", 0, 0, 0, None),
    ]
    # What was stored is told also where a consumer failed; but the run is no success.
    with pytest.raises(UnfinishedError, match="consumers that failed: 1;"):
        tasks.measure(broker, "run", QUEUES, 1)
    with pytest.raises(UnfinishedError, match="planejar has failed"):
        tasks.measure(broker, "run", QUEUES, None)
    with psycopg.connect(warehouse) as connection:
        assert connection.execute("SELECT sum(total) FROM metricas_filas").fetchall() == [(47,)]
    assert tasks.plan(SETTINGS, broker, "run", QUEUES, 3, 20, revive=False) == []
    # The two that are poison still are.
    assert tasks.plan(SETTINGS, broker, "again", QUEUES, 3, 20, revive=True) == planned[:1]
    tasks.work(SETTINGS, broker, "again", "produto-fila", 20, 60)
    assert tasks.measure(broker, "again", QUEUES, 0)["produto-fila"]["falhas"] == 2


def test_a_missing_connection_is_named(monkeypatch: pytest.MonkeyPatch, connections: None) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_RABBITMQ_LOJA")
    with pytest.raises(ConfigurationError, match="connection rabbitmq_loja is not defined"):
        tasks.plan(SETTINGS, "rabbitmq", "run", QUEUES, 1, 1, revive=False)


def test_connections_that_lead_nowhere_are_named(
    monkeypatch: pytest.MonkeyPatch, connections: None, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_RABBITMQ_LOJA", json.dumps({"conn_type": "amqp", "login": "loja"}))
    with pytest.raises(ConfigurationError, match="connection rabbitmq_loja has no host"):
        tasks.plan(SETTINGS, "rabbitmq", "run", QUEUES, 1, 1, revive=False)
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv(
        "AIRFLOW_CONN_SQS_LOJA", json.dumps({"conn_type": "aws", "login": "x", "password": "x"})
    )
    with pytest.raises(ConfigurationError, match="connection sqs_loja has no region"):
        tasks.plan(SETTINGS, "sqs", "run", QUEUES, 1, 1, revive=False)


def test_a_broker_that_takes_nothing_for_a_minute_is_away(connections: None) -> None:
    assert rabbitmq().blocked_connection_timeout == 60


def test_ids_beyond_all_dates_are_refused_in_one_line() -> None:
    said = CliRunner().invoke(main, ["--broker", "sqs", "--first", "99999999999999"])
    assert said.exit_code == 2
    assert "--first" in said.output


def test_a_publisher_without_a_connection_says_so_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.demos.publish", "--broker", "rabbitmq"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: connection rabbitmq_loja is not defined")


def test_the_watcher_tells_once_when_messages_begin_to_wait_and_takes_none(
    connections: None, aws: AWS
) -> None:
    asked = 0

    class Counting(MessagesWait):
        def _count(self) -> int:
            nonlocal asked
            asked += 1
            return super()._count()

    trigger = Counting("pedido-fila", 0.01)

    async def events(count: int, patience: float) -> list[Any]:
        found: list[Any] = []
        stream = trigger.run()
        try:
            async with asyncio.timeout(patience):
                while len(found) < count:
                    found.append((await anext(stream)).payload)
        except TimeoutError:
            pass
        finally:
            await stream.aclose()
        return found

    assert asyncio.run(events(1, 3)) == []
    publish("--broker", "sqs", "--tipo", "pedido", "--count", "3")
    told = {"fila": "pedido-fila", "esperando": 3}
    asked = 0
    assert asyncio.run(events(2, 60)) == [told, told]
    # Not told in between, and still all of them wait.
    assert asked == AGAIN + 1
    classpath, arguments = MessagesWait("pedido-fila", 0.01).serialize()
    assert classpath == "include.loja.queues.waiting.MessagesWait"
    assert MessagesWait(**arguments).serialize() == (classpath, arguments)


def test_a_watcher_outlives_a_queue_that_can_not_be_asked(
    connections: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SQS_LOJA")

    async def wait() -> None:
        async with asyncio.timeout(3):
            await anext(MessagesWait("pedido-fila", 0.1).run())

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
    assert "pedido-fila can't be checked; checking again in 0.1 s" in caplog.text


def test_the_metrics_count_by_queue_and_result() -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    numbers = {"produto-fila": metrics(3, 1), "pedido-fila": metrics(0, 0)}
    record_metrics("sqs", numbers, numbers, meter)
    # The report of a task that was killed after the first one: everything is counted already.
    record_metrics("sqs", numbers, dict.fromkeys(numbers, metrics(0, 0)), meter)
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: {
            tuple(sorted(point.attributes.items())): point.value  # type: ignore[union-attr]
            for point in metric.data.data_points
        }
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert found["loja.messages"] == {
        (("broker", "sqs"), ("queue", "produto-fila"), ("result", "sucesso")): 3,
        (("broker", "sqs"), ("queue", "produto-fila"), ("result", "falha")): 1,
        (("broker", "sqs"), ("queue", "pedido-fila"), ("result", "sucesso")): 0,
        (("broker", "sqs"), ("queue", "pedido-fila"), ("result", "falha")): 0,
    }
    assert found["loja.success_rate"] == {(("broker", "sqs"), ("queue", "produto-fila")): 0.75}


def test_a_warehouse_row_is_replaced(warehouse: str) -> None:
    for sucessos in (1, 2):
        write(lambda: psycopg.connect(warehouse), "run", {"produto-fila": metrics(sucessos, 0)})
    with psycopg.connect(warehouse) as connection:
        assert connection.execute("SELECT total FROM metricas_filas").fetchall() == [(2,)]


def test_settings_that_make_no_sense_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Queues.load().visibility == timedelta(minutes=2)
    monkeypatch.setenv("LOJA_FILA_VISIBILIDADE_SEGUNDOS", "5")
    with pytest.raises(
        ValueError, match="LOJA_FILA_VISIBILIDADE_SEGUNDOS is '5'; it must be a whole number from 10"
    ):
        Queues.load()
