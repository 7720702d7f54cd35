"""The store's seven DAGs on Celery workers, over real servers: MariaDB, RabbitMQ, SQS and S3, PostgreSQL as Redshift.

One fixture starts all DAGs that need no other's result. The consumers start first, on two workers, one of which is killed.
Airflow notices a killed worker's task after half a minute, so the test about it is the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pika
import psycopg
import pytest

from include.loja.queues import rabbitmq, sqs
from local.demos.publish import POISON, generate
from local.deployment.airflow import Triggerer, Worker
from local.deployment.api import AirflowApi, Run
from local.deployment.loja import WAREHOUSE, Loja
from local.deployment.stack import Deployment
from tests.conftest import ROOT
from tests.e2e.runs import PATIENCE, ended, instances, log, path, resume, until
from tests.otlp import Receiver
from tests.promql import expressions, questions, unanswered

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "loja.json"
EVERY_MINUTE = ("criacao_produtos", "consumir_fila_rabbitmq")
DAGS = (
    *EVERY_MINUTE,
    *("atualizacao_precos", "consumir_fila_sqs", "etl_produtos", "etl_pedidos", "migracao_completa"),
)
ORDERS = 450
CATEGORIES = {
    "Roupas": "CAT-001",
    "Eletrônicos": "CAT-002",
    "Alimentos": "CAT-003",
    "Móveis": "CAT-004",
    "Esportes": None,
}
# Before the end of the last data interval, so that the rows belong to it.
EARLIER = datetime.now(UTC) - timedelta(days=3)


@dataclass(frozen=True)
class Lab:
    """The deployment, its API, the store's servers, and the time at which the DAGs began to run."""

    deployment: Deployment
    api: AirflowApi
    loja: Loja
    begun: datetime

    def unpause(self, dag: str) -> None:
        """Unpause a DAG; the scheduler starts the run of its latest due time at once."""
        self.api.unpause(dag, PATIENCE, self.deployment.supervisor.check)

    def pause(self, dag: str) -> None:
        """Pause a DAG."""
        self.api.call("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": True})

    def works(self, dag: str) -> bool:
        """Return whether a task of the DAG runs, or is about to run."""
        place = f"/api/v2/dags/{dag}/dagRuns/~/taskInstances"
        found = self.api.call("GET", place, params={"state": ["queued", "running"], "limit": 1})
        return bool(found["total_entries"])

    def first(self, dag: str) -> Run:
        """Return the DAG's first run that a schedule or an asset has started."""
        return until(self.deployment, lambda: self.api.runs(dag, self.begun))[0]

    def ended(self, dag: str, run: str, state: str = "success") -> Run:
        """Wait for a run's end, check its state, and return it."""
        found = ended(self.deployment, self.api, dag, run)
        assert found.state == state, [one for one in instances(self.api, dag, run) if one.state != "success"]
        return found

    def returned(self, dag: str, run: str, task: str) -> Any:
        """Return a task's return value."""
        place = f"{path(dag, run)}/taskInstances/{task}/xcomEntries/return_value"
        return self.api.call("GET", place, params={"deserialize": False})["value"]

    def mysql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Execute a statement in the store's database; return the rows."""
        with closing(self.loja.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return [tuple(row.values()) for row in cursor.fetchall()]

    def warehouse(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement in the warehouse; return the rows, if there are any."""
        with psycopg.connect(self.deployment.settings.dsn(WAREHOUSE)) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def loja(deployment: Deployment) -> Iterator[Loja]:
    """The store's servers, for this module."""
    servers = deployment.start_loja()
    yield servers
    for server in servers.servers:
        deployment.supervisor.stop(server)


@pytest.fixture(scope="module")
def lost(deployment: Deployment, loja: Loja) -> Iterator[Worker]:
    """A second worker, which will be killed, and a triggerer for the watchers of the SQS queues."""
    lost = Worker(deployment.settings, deployment.environment, deployment.settings.log("servidor04"))
    lost.name = lost.hostname = "servidor04"
    triggerer = Triggerer(deployment.settings, deployment.environment, deployment.settings.log("triggerer"))
    deployment.start(lost, triggerer)
    yield lost
    for server in (lost, triggerer):
        if server in deployment.supervisor.servers:
            deployment.supervisor.stop(server)


@pytest.fixture(scope="module")
def lab(deployment: Deployment, loja: Loja, lost: Worker) -> Iterator[Lab]:
    """A filled store, one of the two consumers' workers killed, and all DAGs started that need no other's result."""
    with AirflowApi(deployment.settings) as api:
        lab = Lab(deployment, api, loja, datetime.now(UTC))
        fill(lab)
        consume_and_kill(lab, lost)
        for dag in ("etl_pedidos", "criacao_produtos", "atualizacao_precos"):
            lab.unpause(dag)
        yield lab
        for dag in DAGS:
            lab.pause(dag)
        # Otherwise, running tasks would lose the servers and send alerts.
        until(deployment, lambda: not any(map(lab.works, DAGS)))


def fill(lab: Lab) -> None:
    """Insert products, orders (some are wrong), pending products (one is wrong), and a price list."""
    with closing(lab.loja.connect()) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO produtos (nome, categoria, preco, estoque) VALUES (%s, %s, 10.00, 3)",
            [(f"{category} {number}", category) for category in CATEGORIES for number in (1, 2)],
        )
        orders = "INSERT INTO pedidos (pedido_id, cliente_id, data, valor_total, status, atualizado_em)"
        cursor.executemany(
            f"{orders} VALUES (%s, 1, '2026-01-02', 10.50, 'pago', %s)",
            [(number, EARLIER) for number in range(1, ORDERS + 1)],
        )
        cursor.executemany(
            f"{orders} VALUES (%s, 1, %s, 1, %s, %s)",
            [
                (7, "2026-01-02", "enviado", EARLIER),
                (ORDERS + 1, "1899-01-01", "pago", EARLIER),
                (ORDERS + 2, "2026-01-02", "perdido", EARLIER),
                # Not part of the last interval.
                (ORDERS + 3, "2026-01-02", "novo", datetime.now(UTC)),
            ],
        )
        cursor.executemany(
            "INSERT INTO produtos_pendentes (nome, categoria, preco, estoque) VALUES (%s, 'Roupas', %s, 1)",
            [("Camisa", "10.00"), ("Calça", "-1.00"), ("Meia", "5.00")],
        )
    # A small change, one beyond the limit, and one of an unknown product.
    origin = Path(lab.deployment.environment["LOJA_PRECOS_ORIGEM"])
    origin.write_text("produto_id,preco\n1,11.00\n2,99.00\n4711,5.00\n")


def consume_and_kill(lab: Lab, lost: Worker) -> None:
    """Let consumers on both workers receive messages, and kill one worker before it has stored any."""
    parameters = lab.loja.rabbitmq.url()
    for tipo in ("pedido", "usuario"):
        rabbitmq.publish(pika.URLParameters(parameters), f"{tipo}-fila", generate(tipo, 1, 300))
    rabbitmq.publish(pika.URLParameters(parameters), "usuario-fila", POISON)
    lab.unpause("consumir_fila_rabbitmq")
    run = lab.first("consumir_fila_rabbitmq").run_id

    def found(task: str) -> list[Any]:
        return [one for one in instances(lab.api, "consumir_fila_rabbitmq", run) if one.task == task]

    until(lab.deployment, lambda: [one for one in found("planejar") if one.state == "success"])
    with closing(lab.loja.connect()) as holder, holder.cursor() as cursor:
        # The consumers wait for this lock before they store a batch.
        cursor.execute("LOCK TABLES mensagens WRITE")

        def waits() -> bool:
            cursor.execute(
                "SELECT count(*) AS n FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
            )
            return bool(cursor.fetchone()["n"] == 4)

        until(lab.deployment, waits)
        hosts = {one.hostname for one in found("consumir")}
        assert hosts == {"servidor01", lost.hostname}
        lab.deployment.supervisor.kill(lost)


def test_a_bad_product_holds_up_no_other_and_is_repeated_once_mended(lab: Lab) -> None:
    first = lab.first("criacao_produtos").run_id
    lab.ended("criacao_produtos", first)
    pending = "SELECT nome, estado, motivo FROM produtos_pendentes ORDER BY pendente_id"
    assert lab.mysql(pending) == [
        ("Camisa", "catalogado", None),
        (
            "Calça",
            "falhou",
            "processar, refused: preco is -1.0000: it must be above 0 and at most 9999999999.99",
        ),
        ("Meia", "catalogado", None),
    ]
    assert "it must be above 0" in log(lab.api, "criacao_produtos", first, "avisar", 1)
    lab.mysql("UPDATE produtos_pendentes SET preco = 1 WHERE nome = 'Calça'")
    again = lab.api.trigger("criacao_produtos", {"repetir": [2]})
    lab.ended("criacao_produtos", again)
    # The product is no longer in the state `falhou`, so the run fails, although its last task always runs.
    refused = lab.api.trigger("criacao_produtos", {"repetir": [2]})
    lab.ended("criacao_produtos", refused, "failed")
    lab.pause("criacao_produtos")
    assert {state for _, state, _ in lab.mysql(pending)} == {"catalogado"}
    # One message was sent for each of them.
    assert lab.mysql("SELECT count(*), count(enviado_em) FROM avisos") == [(3, 3)]


def test_a_price_that_changes_too_much_waits_for_somebody(lab: Lab) -> None:
    run = lab.first("atualizacao_precos").run_id
    asked = f"{path('atualizacao_precos', run)}/taskInstances/aprovar/0/hitlDetails"

    def waits() -> bool:
        return any(
            one.task == "aprovar" and one.state == "awaiting_input"
            for one in instances(lab.api, "atualizacao_precos", run)
        )

    until(lab.deployment, waits)
    question = lab.api.call("GET", asked)
    assert "99.00" in question["body"]
    approve, refuse = question["options"]
    assert (approve[:8], refuse) == ("Aprovar ", "Recusar")
    prices = "SELECT produto_id, preco FROM produtos WHERE produto_id <= 2 ORDER BY produto_id"
    assert lab.mysql(prices) == [(1, Decimal("10.00")), (2, Decimal("10.00"))]
    lab.api.call("PATCH", asked, json={"chosen_options": [approve]})
    lab.ended("atualizacao_precos", run)
    assert lab.returned("atualizacao_precos", run, "aplicar") == {"aplicado": 2, "invalido": 1}
    assert lab.mysql(prices) == [(1, Decimal("11.00")), (2, Decimal("99.00"))]
    who = lab.deployment.settings.admin_user
    history = (
        "SELECT produto_id, preco_antigo, preco_novo, aprovado_por FROM precos_historico ORDER BY produto_id"
    )
    assert lab.mysql(history) == [
        (1, Decimal("10.00"), Decimal("11.00"), None),
        (2, Decimal("10.00"), Decimal("99.00"), who),
    ]


def test_products_and_their_totals_arrive_in_the_warehouse(lab: Lab) -> None:
    lab.unpause("etl_produtos")
    run = lab.first("etl_produtos").run_id
    lab.ended("etl_produtos", run)
    source = lab.mysql(
        "SELECT produto_id, categoria, preco, estoque, preco * estoque FROM produtos ORDER BY 1"
    )
    assert lab.warehouse(
        "SELECT produto_id, categoria, categoria_id, preco, estoque, valor_estoque FROM produtos ORDER BY 1"
    ) == [(key, category, CATEGORIES[category], *rest) for key, category, *rest in source]
    totals = lab.mysql("SELECT categoria, sum(estoque) FROM produtos GROUP BY categoria")
    assert set(lab.warehouse("SELECT categoria, estoque_total FROM produtos_agg")) == set(totals)
    assert lab.returned("etl_produtos", run, "validar")["sem_categoria_id"] == {"Esportes": 2}


def test_orders_arrive_by_data_interval_and_wrong_ones_are_set_aside(lab: Lab) -> None:
    count = "SELECT count(*), sum(valor_total) FROM pedidos"
    first = lab.first("etl_pedidos")
    lab.ended("etl_pedidos", first.run_id)
    assert first.start is not None
    assert first.end is not None
    assert first.end - first.start == timedelta(days=1)
    # Today's order belongs to the next interval. Of the two rows of one order, the newer one is loaded.
    assert lab.warehouse(count) == [(ORDERS, (ORDERS - 1) * Decimal("10.50") + 1)]
    assert {reason for (reason,) in lab.warehouse("SELECT motivo FROM pedidos_rejeitados")} >= {
        "status is 'perdido': it must be novo, pago, enviado, entregue, cancelado"
    }
    assert lab.warehouse("SELECT count(*) FROM pedidos_rejeitados") == [(3,)]

    end = datetime.now(UTC)
    following = lab.api.call(
        "POST",
        "/api/v2/dags/etl_pedidos/dagRuns",
        json={
            "logical_date": first.end.isoformat(),
            "data_interval_start": first.end.isoformat(),
            "data_interval_end": end.isoformat(),
        },
    )["dag_run_id"]
    lab.ended("etl_pedidos", following)
    assert lab.warehouse(count) == [(ORDERS + 1, (ORDERS - 1) * Decimal("10.50") + 2)]


def test_a_migration_that_differs_fails_and_changes_nothing_and_is_resumed(lab: Lab) -> None:
    count = "SELECT count(*), sum(valor_total) FROM pedidos"
    before = lab.warehouse(count)
    lab.mysql("UPDATE pedidos SET valor_total = 20 WHERE pedido_id = 9")
    # Make the warehouse lose a row during the load.
    lab.warehouse(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER lossy BEFORE INSERT ON pedidos FOR EACH ROW WHEN (NEW.pedido_id = 10) EXECUTE FUNCTION lose()"
    )
    lab.unpause("migracao_completa")
    run = lab.first("migracao_completa").run_id
    lab.ended("migracao_completa", run, "failed")
    chunks = len([one for one in instances(lab.api, "migracao_completa", run) if one.task == "mover"])
    assert chunks == 1 + 3  # the products, and three of 454 orders
    said = log(lab.api, "migracao_completa", run, "carregar", 1)
    assert "1 of 3 chunks differ: [0, 201): 199 rows" in said
    assert lab.warehouse(count) == before

    lab.warehouse("DROP TRIGGER lossy ON pedidos")
    lab.api.call(
        "POST",
        "/api/v2/dags/migracao_completa/clearTaskInstances",
        json={"dag_run_id": run, "dry_run": False, "only_failed": True, "reset_dag_runs": True},
    )
    lab.ended("migracao_completa", run)
    assert {one.tries for one in instances(lab.api, "migracao_completa", run) if one.task == "mover"} == {1}
    assert lab.warehouse(count) == [(before[0][0], before[0][1] + Decimal("9.50"))]
    assert lab.returned("migracao_completa", run, "comparar") == {"produtos": 13, "pedidos": ORDERS + 4}


def test_messages_that_wait_on_sqs_start_their_consumers(lab: Lab) -> None:
    client = lab.loja.aws.client("sqs")
    sqs.publish(client, "produto-fila", [*generate("produto", 1, 30), b"{"])
    lab.unpause("consumir_fila_sqs")
    # The watcher starts when the file of the unpaused DAG is parsed the next time.
    resume(lab.api, "consumir_fila_sqs")
    run = lab.first("consumir_fila_sqs")
    assert run.run_type == "asset_triggered"
    lab.ended("consumir_fila_sqs", run.run_id)
    lab.pause("consumir_fila_sqs")
    nothing = {"total": 0, "sucessos": 0, "falhas": 0, "taxa": None}
    assert lab.returned("consumir_fila_sqs", run.run_id, "medir") == {
        "produto-fila": {"total": 31, "sucessos": 30, "falhas": 1, "taxa": 30 / 31},
        "pedido-fila": nothing,
        "usuario-fila": nothing,
    }
    stored = "SELECT count(*) FROM mensagens WHERE execucao LIKE 'sqs %'"
    assert lab.mysql(stored) == lab.mysql(
        stored.replace("mensagens", "movimentos JOIN mensagens USING (mensagem_id)")
    )
    assert sqs.waiting(client, "produto-fila") == 0


def test_a_killed_worker_loses_no_message_and_doubles_none(lab: Lab, telemetry: Receiver) -> None:
    run = lab.first("consumir_fila_rabbitmq").run_id
    lab.ended("consumir_fila_rabbitmq", run)
    lab.pause("consumir_fila_rabbitmq")
    consumers = [one for one in instances(lab.api, "consumir_fila_rabbitmq", run) if one.task == "consumir"]
    assert sorted(one.tries for one in consumers) == [1, 1, 2, 2]
    assert {one.hostname for one in consumers} == {"servidor01"}
    expected = sorted(f"{tipo}-{number:04d}" for tipo in ("PEDIDO", "USUARIO") for number in range(1, 301))
    for table in ("mensagens", "movimentos"):
        found = lab.mysql(f"SELECT mensagem_id FROM {table} WHERE tipo <> 'produto' ORDER BY mensagem_id")
        assert [name for (name,) in found] == expected
    pedidos = {"total": 300, "sucessos": 300, "falhas": 0, "taxa": 1.0}
    usuarios = {"total": 303, "sucessos": 300, "falhas": 3, "taxa": 300 / 303}
    numbers: dict[str, dict[str, Any]] = {
        "produto-fila": {"total": 0, "sucessos": 0, "falhas": 0, "taxa": None},
        "pedido-fila": pedidos,
        "usuario-fila": usuarios,
    }
    assert lab.returned("consumir_fila_rabbitmq", run, "medir") == numbers
    metrics = lab.warehouse("SELECT execucao, fila, total, sucessos, falhas FROM metricas_filas")
    for queue, counts in numbers.items():
        assert (f"rabbitmq {run}", queue, counts["total"], counts["sucessos"], counts["falhas"]) in metrics

    def counted() -> dict[tuple[str, str], float]:
        return {
            (point.labels["queue"], point.labels["result"]): point.value
            for point in list(telemetry.received.points)
            if point.name == "loja.messages" and point.value and point.labels["broker"] == "rabbitmq"
        }

    until(lab.deployment, lambda: ("usuario-fila", "falha") in counted())
    assert counted()["usuario-fila", "falha"] == 3
    assert counted()["pedido-fila", "sucesso"] == 300
    asked = [question for text in expressions(DASHBOARD) for question in questions(text)]
    until(lab.deployment, lambda: not unanswered(asked, list(telemetry.received.points)))
    with lab.loja.rabbitmq.connect() as connection:
        dead = connection.channel().queue_declare("usuario-fila-mortas", passive=True).method.message_count
    assert dead == 3
