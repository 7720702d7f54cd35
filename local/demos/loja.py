"""The demonstration of the store: its seven DAGs run on two Celery workers, on data with some faults.

The runs and the failures are real: in the middle of ten thousand messages, one worker is killed and the broker is restarted.
At the end, each server counts its own rows. moto replaces Amazon, and PostgreSQL replaces Redshift.

Each demonstration starts with empty servers: the data of an earlier one is removed from the folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika
import psycopg
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from include.loja.queues import rabbitmq, sqs
from local.demos import loja_data as data
from local.demos.publish import POISON, generate
from local.demos.vendas import DemoError
from local.deployment.airflow import Worker
from local.deployment.api import AirflowApi, Run
from local.deployment.loja import WAREHOUSE, Loja
from local.deployment.stack import Deployment

MESSAGES = 10_000
ON_SQS = 500
QUEUE = "pedido-fila"
# The numbers of stored messages at which a worker is killed, and the broker restarted.
KILL_AT, RESTART_AT = 2_000, 5_000
PATIENCE = 300.0
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
VARIABLES = {
    # One task at a time per worker, so that the two consumers run on two workers.
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
    # A killed worker is noticed after this many seconds, not after sixty.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "LOJA_CRIACAO_ESPERA_SEGUNDOS": "5",
    "LOJA_FILA_PAUSA_SEGUNDOS": "2",
    "LOJA_FILA_VIGIA_SEGUNDOS": "5",
    "LOJA_TRECHO_LINHAS": "50000",
}


@dataclass(frozen=True)
class Result:
    """What one DAG did, in words, and whether that is the expected result."""

    dag_id: str
    what: str
    right: bool


def run(folder: Path, console: Console) -> int:
    """Run the demonstration in `folder`; return 0 if every DAG has the expected result, else 1."""
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s[/]  {text}", highlight=False)

    prices = folder.resolve() / "precos.csv"
    variables = {**VARIABLES, "LOJA_PRECOS_ORIGEM": str(prices)}
    with Deployment(folder, variables, lambda text: say(escape(text))) as deployment:
        for part in ("data", "airflow"):
            shutil.rmtree(deployment.folder / part, ignore_errors=True)
        deployment.start_databases()
        loja = deployment.start_loja()
        with closing(loja.connect()) as mysql:
            data.fill(mysql)
            data.write_prices(prices, mysql)
        say(f"the store has {data.PRODUCTS:,} products, {data.PENDING} that wait, {data.ORDERS:,} orders")
        second = Worker(deployment.settings, deployment.environment, deployment.settings.log("worker-2"))
        second.name = second.hostname = "servidor02"
        deployment.start_airflow("api-server", "worker", "triggerer", "dag-processor", "scheduler")
        deployment.start(second)
        with AirflowApi(deployment.settings) as api, closing(loja.connect()) as mysql:
            demo = Demo(deployment, loja, api, mysql, second, console, say)
            demo.run()
            return conclude(demo.results, demo.metrics(), console)


@dataclass
class Demo:
    """One demonstration on a running deployment."""

    deployment: Deployment
    loja: Loja
    api: AirflowApi
    mysql: Any
    second: Worker
    console: Console
    say: Callable[[str], None]
    results: list[Result] = field(default_factory=list)

    def run(self) -> None:
        """Run one DAG after the other. The run whose worker was killed ends in the meantime."""
        consuming = self.consume()
        self.publish_on_sqs()
        self.create_and_price()
        self.create_again()
        self.move()
        self.migrate()
        self.end_of_consuming(consuming)
        self.end_of_sqs()

    def consume(self) -> str:
        """Let two consumers take the messages; meanwhile kill a worker and restart the broker. Return the run's id."""
        dag_id = "consumir_fila_rabbitmq"
        parameters = pika.URLParameters(self.loja.rabbitmq.url())
        bodies = [*generate("pedido", 1, MESSAGES), *POISON]
        begun = time.monotonic()
        rabbitmq.publish(parameters, QUEUE, bodies)
        self.say(
            f"published {len(bodies):,} messages in {QUEUE}, {len(POISON)} of them poison:"
            f" {len(bodies) / (time.monotonic() - begun):,.0f} a second"
        )
        run_id = self._scheduled(dag_id).run_id
        self._until(lambda: self._consumers() >= 2, "two consumers")
        begun, before = time.monotonic(), self._stored(QUEUE)
        self.say("two consumers take them, one on each worker")
        with Progress(
            TextColumn("messages stored"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self.console, transient=True, disable=not self.console.is_terminal,
        ) as progress:  # fmt: skip
            bar = progress.add_task("", total=MESSAGES)

            def reach(count: int) -> None:
                def stored() -> bool:
                    found = self._stored(QUEUE)
                    progress.update(bar, completed=found)
                    return found >= count

                self._until(stored, f"{count} messages")

            reach(KILL_AT)
            self.deployment.supervisor.kill(self.second)
            reach(RESTART_AT)
            self.deployment.supervisor.stop(self.loja.rabbitmq)
            self.deployment.start(self.loja.rabbitmq)
            reach(MESSAGES)
        seconds = time.monotonic() - begun
        self.say(
            f"{MESSAGES:,} messages are stored: {(MESSAGES - before) / seconds:,.0f} a second,"
            " with a worker killed and the broker restarted"
        )
        self.deployment.start(self.second)
        return run_id

    def publish_on_sqs(self) -> None:
        """Put messages on SQS. Only the watcher starts runs for them."""
        self.api.unpause("consumir_fila_sqs", PATIENCE, self.deployment.supervisor.check)
        with closing(self.loja.aws.client("sqs")) as client:
            bodies = [*generate("usuario", 1, ON_SQS), POISON[1]]
            sqs.publish(client, "usuario-fila", bodies)
        self.say(f"published {len(bodies)} messages in usuario-fila on SQS, where a watcher looks")

    def create_and_price(self) -> None:
        """Create products while the price list waits for an answer."""
        pricing = self._scheduled("atualizacao_precos").run_id
        creating = self._scheduled("criacao_produtos").run_id
        [question] = self._until(lambda: self._questions(pricing), "the question about prices")
        self.say(f"Airflow asks: {escape(question['body'].splitlines()[0])} The admin approves")
        self.api.call(
            "PATCH",
            f"/api/v2/dags/atualizacao_precos/dagRuns/{pricing}/taskInstances/aprovar/0/hitlDetails",
            json={"chosen_options": question["options"][:1], "params_input": {}},
        )
        self._wait("criacao_produtos", creating)
        for row in self._read(
            "SELECT pendente_id, estado, motivo FROM produtos_pendentes WHERE motivo IS NOT NULL"
        ):
            self.say(f"product {row['pendente_id']} is {row['estado']}: {escape(row['motivo'])}")
        self._wait("atualizacao_precos", pricing)
        lines = self._counts("SELECT situacao, COUNT(*) AS n FROM precos_propostos GROUP BY 1")
        history = self._count("SELECT COUNT(*) AS n FROM precos_historico")
        self._result(
            "atualizacao_precos",
            f"{_words(lines)}; {history} changes in the history",
            lines == {"aplicado": data.LISTED, "invalido": data.STRANGERS + data.PRICELESS}
            and history == data.LISTED,
        )

    def create_again(self) -> None:
        """Fix two of the three faulty products, and repeat them."""
        data.mend(self.mysql)
        again = self.api.trigger("criacao_produtos", {"repetir_todos": True})
        self.say("two of them are mended; criacao_produtos is triggered to repeat all that failed")
        self._wait("criacao_produtos", again)
        open_ = "SELECT COUNT(*) AS n FROM produtos_pendentes WHERE estado NOT IN ('catalogado', 'falhou')"
        self._until(lambda: self._count(open_) == 0, "the last product")
        states = self._counts("SELECT estado, COUNT(*) AS n FROM produtos_pendentes GROUP BY 1")
        self._pause("criacao_produtos")
        notices = self._count("SELECT COUNT(*) AS n FROM avisos WHERE enviado_em IS NOT NULL")
        self._result(
            "criacao_produtos",
            f"{_words(states)}; {notices} notices in produto-fila",
            states == {"catalogado": data.PENDING - 1, "falhou": 1} and notices == data.PENDING - 1,
        )

    def move(self) -> None:
        """Load the products, and the orders of the scheduled run's data interval."""
        products, orders = self._scheduled("etl_produtos"), self._scheduled("etl_pedidos")
        self._wait("etl_produtos", products.run_id)
        self._wait("etl_pedidos", orders.run_id)
        loaded = self._moved("SELECT COUNT(*) FROM produtos")
        categories = self._moved("SELECT COUNT(*) FROM produtos_agg")
        self._result(
            "etl_produtos",
            f"{loaded:,} products, {categories} categories",
            loaded == data.PRODUCTS + data.PENDING - 1,
        )
        kept = self._moved("SELECT COUNT(*) FROM pedidos")
        aside = self._moved("SELECT COUNT(*) FROM pedidos_rejeitados")
        self._result(
            "etl_pedidos",
            f"{kept:,} orders, {aside} lines set aside, interval to {orders.end:%d %B %H:%M} UTC",
            (kept, aside) == (data.ORDERS, data.COPIES + data.UNKNOWN + data.DATELESS),
        )

    def migrate(self) -> None:
        """Change some orders, then migrate everything in chunks."""
        changed = data.change_orders(self.mysql)
        self.say(f"{changed:,} orders move on; then everything is migrated")
        self._wait("migracao_completa", self._scheduled("migracao_completa").run_id)
        [source] = self._read("SELECT COUNT(*) AS n, SUM(linha) AS k, SUM(valor_total) AS m FROM pedidos")
        with self._warehouse() as warehouse:
            there = warehouse.execute(
                "SELECT COUNT(*), SUM(linha), SUM(valor_total) FROM"
                " (SELECT linha, valor_total FROM pedidos UNION ALL SELECT linha, valor_total FROM pedidos_rejeitados) AS t"
            ).fetchone()
            aside = [row[0] for row in warehouse.execute("SELECT linha FROM pedidos_rejeitados")]
        delivered = self._count(
            "SELECT COUNT(*) AS n FROM pedidos WHERE status = 'entregue' AND linha NOT IN %s", aside
        )
        found = self._moved("SELECT COUNT(*) FROM pedidos WHERE status = 'entregue'")
        self._result(
            "migracao_completa",
            f"source {_figures(source.values())}; warehouse {_figures(there or ())}; {found:,} delivered",
            there == tuple(source.values()) and found == delivered,
        )

    def end_of_consuming(self, run_id: str) -> None:
        """Wait for the run whose worker was killed: Airflow retries its task."""
        self._wait("consumir_fila_rabbitmq", run_id)
        self._pause("consumir_fila_rabbitmq")
        stored = self._stored(QUEUE)
        effects = self._count("SELECT COUNT(*) AS n FROM movimentos WHERE tipo = 'pedido'")
        dead = self._count(
            "SELECT COUNT(*) AS n FROM mensagens_falhas WHERE morta_em IS NOT NULL AND fila = %s", QUEUE
        )
        self._result(
            "consumir_fila_rabbitmq",
            f"{stored:,} messages stored with {effects:,} effects, {dead} dead letters",
            (stored, effects, dead) == (MESSAGES, MESSAGES, len(POISON)),
        )

    def end_of_sqs(self) -> None:
        """Wait for the runs that the watcher has started."""
        dag_id = "consumir_fila_sqs"
        [first, *_] = self._until(lambda: self.api.runs(dag_id, EPOCH), "the watcher")
        self._wait(dag_id, first.run_id)
        self._until(lambda: self._stored("usuario-fila") >= ON_SQS, "the messages of SQS")
        stored = self._stored("usuario-fila")
        self._result(
            dag_id,
            f"{stored} messages stored; started by {first.run_type}",
            stored == ON_SQS and first.run_type == "asset_triggered",
        )

    def metrics(self) -> list[dict[str, Any]]:
        """Return the queues' numbers in the store's database, of all runs with messages."""
        return self._read(
            "SELECT fila, total, sucessos, falhas, taxa FROM metricas_filas WHERE total > 0 ORDER BY em"
        )

    def _scheduled(self, dag_id: str) -> Run:
        """Unpause a DAG and return its first run, which the scheduler starts for the latest time of its timetable."""
        self.api.unpause(dag_id, PATIENCE, self.deployment.supervisor.check)
        [first, *_] = self._until(lambda: self.api.runs(dag_id, EPOCH), f"the first run of {dag_id}")
        self.say(f"{dag_id} begins: {first.run_id}")
        return first

    def _pause(self, dag_id: str) -> None:
        self.api.call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": True})

    def _wait(self, dag_id: str, run_id: str) -> None:
        ended = self.api.wait(dag_id, run_id, PATIENCE, self.deployment.supervisor.check)
        self.say(f"{dag_id}: [bold]{ended.state}[/] in {ended.seconds or 0:.0f} s")
        if ended.state != "success":
            raise DemoError(f"{dag_id} ended as {ended.state}: {self.deployment.settings.logs}")

    def _until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            self.deployment.supervisor.check()
            if time.monotonic() > deadline:
                raise DemoError(f"waited {PATIENCE:g} s for {what}: {self.deployment.settings.logs}")
            time.sleep(0.2)
        return found

    def _questions(self, run_id: str) -> list[dict[str, Any]]:
        found = self.api.call("GET", f"/api/v2/dags/atualizacao_precos/dagRuns/{run_id}/hitlDetails")
        return list(found["hitl_details"])

    def _consumers(self) -> int:
        with closing(self.loja.rabbitmq.connect()) as connection:
            found: int = connection.channel().queue_declare(QUEUE, passive=True).method.consumer_count
            return found

    def _stored(self, queue: str) -> int:
        return self._count("SELECT COUNT(*) AS n FROM mensagens WHERE fila = %s", queue)

    def _read(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with self.mysql.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def _count(self, statement: str, *values: Any) -> int:
        return int(self._read(statement, *values)[0]["n"])

    def _counts(self, statement: str) -> dict[str, int]:
        return {str(next(iter(row.values()))): int(row["n"]) for row in self._read(statement)}

    def _warehouse(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.deployment.settings.dsn(WAREHOUSE))

    def _moved(self, statement: str) -> int:
        with self._warehouse() as warehouse:
            row = warehouse.execute(statement).fetchone()
        return int(row[0]) if row else 0

    def _result(self, dag_id: str, what: str, right: bool) -> None:
        self.results.append(Result(dag_id, what, right))


def conclude(results: Sequence[Result], metrics: Sequence[Mapping[str, Any]], console: Console) -> int:
    """Print what each DAG did, and the queues' metrics; return the exit code, 0 only if all results are right."""
    table = _table("The store: what each DAG did", "DAG", "what it did", "")
    for result in results:
        mark = "[green]as it should[/]" if result.right else "[bold red]wrong[/]"
        table.add_row(result.dag_id, escape(result.what), mark)
    queues = _table("metricas_filas: the queues, run by run", "fila", "total", "sucessos", "falhas", "taxa")
    for row in metrics:
        queues.add_row(*(escape(str(value)) for value in row.values()))
    for one in (table, queues):
        console.print()
        console.print(one)
    if not all(result.right for result in results):
        console.print("[bold red]Not everything came to what it had to.")
        return 1
    console.print("[bold green]Everything came to what it had to.[/] The data is made up.")
    return 0


def _table(title: str, *headings: str) -> Table:
    return Table(*headings, title=title, title_justify="left", box=None, pad_edge=False)


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _figures(values: Any) -> str:
    rows, keys, money = values
    return f"{rows:,} lines, keys {keys}, sum {money:,}"
