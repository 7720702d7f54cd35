"""The real servers that a test session shares, and the labs on them, one per test."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from secrets import token_urlsafe

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from local.deployment.stack import Deployment
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from local.servers.server import free_port
from local.source import base
from local.source.base import execute_file
from tests import campaign as counting
from tests import guard, versions
from tests.campaign import campaign, seed
from tests.lab import Lab, borrow
from tests.local.loja_fixtures import aws, loja_name, mariadb_server, rabbitmq_server
from tests.ocorrencias_service import OcorrenciasService
from tests.otlp import Receiver
from tests.receivers import Mailbox, Webhook

__all__ = ["aws", "campaign", "loja_name", "mariadb_server", "rabbitmq_server", "seed"]

# No deadline: an example's duration depends on how busy the machine is. The same examples every time, so that no result
# depends on chance. `make soak` uses the other profile, with a random search.
settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
settings.register_profile("search", settings.get_profile("project"), derandomize=False, max_examples=1000)
settings.load_profile("project")

# Airflow reads AIRFLOW_HOME when it is first imported: set it to an empty folder before any test imports Airflow.
_home = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# The deployments of tests write into folders of their own, whatever the calling shell has chosen.
for _folder in ("OCORRENCIAS_PASTA", "AUTOMACOES_REPORTS_PATH"):
    os.environ.pop(_folder, None)

# A command that is started in the background, or by nohup, ignores SIGINT, and so would its children, which tests interrupt.
# With a handler that does nothing, only this process ignores it: `exec` resets handlers to the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda _number, _frame: None)

_numbers = itertools.count(1)
_deployments: list[Deployment] = []

ROOT = Path(__file__).resolve().parent.parent
DEPLOYMENTS = {
    "tests/e2e/test_etl_vendas.py": "first",
    "tests/e2e/test_alerts.py": "first",
    "tests/trigger/deployment/": "first",
    "tests/e2e/": "second",
}
"""Which deployment the tests of a folder use; a file that is named itself uses its own. Both take about as long."""
AIRFLOW = tuple(DEPLOYMENTS)
LONG = (*AIRFLOW, "tests/integration/", "tests/local/")
"""These begin first, in this order. All other files are short, so that at the end no process runs alone for long."""
SERVERS = {"postgres", "clickhouse", "deployment", "mariadb_server", "rabbitmq_server", "aws"}
"""The fixtures of servers. Files that start some by themselves carry the mark `server`."""
NO_SYNC = {"fsync": "off", "autovacuum_naptime": "1h"}
"""For PostgreSQL: tests kill its processes, which loses nothing that the operating system has; none cuts the power. And its
vacuum would go through the databases of all tests again and again."""
# The DAGs of tests, and those of the project: the last bundle is read first.
BUNDLES = {
    "trigger": ROOT / "tests" / "trigger" / "dags",
    "tests": ROOT / "tests" / "e2e" / "dags",
    "dags-folder": ROOT / "dags",
}
AUTOMATIONS = (ROOT / "include" / "automacoes", ROOT / "tests" / "e2e" / "automacoes")

BASE_DATA = """
INSERT INTO pais (pais) VALUES ('Brasil'), ('Portugal');
INSERT INTO cidade (cidade_desc, cidade_uf, pais_id) VALUES ('São Paulo', 'SP', 1), ('Lisboa', NULL, 2);
INSERT INTO cliente (nome, data_nasc, cpf, cidade_id) VALUES ('Ana', '1990-02-28', '111', 1), ('João', NULL, NULL, NULL);
INSERT INTO produto (nome, descricao, preco_base) VALUES ('Café', E'torrado\\te moído\\n500 g', 10.50), ('Chá', NULL, NULL);
"""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Give the tests that share a deployment to one process: a session with several (-n) starts each deployment once."""
    config.option.loadscopereorder = False  # keep the order of collection

    class OneDeploymentEach(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next(
                (shared for folder, shared in DEPLOYMENTS.items() if nodeid.startswith(folder)),
                str(super()._split_scope(nodeid)),
            )

    return OneDeploymentEach(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Mark the tests that need a server, before `-m` is evaluated, and sort the longest groups first.

    Leave out what an older PostgreSQL does not have, if SERVER_VERSION names one.
    """
    major = versions.postgres_major()
    newer = [item for item in items if any(mark.args[0] > major for mark in item.iter_markers("postgres"))]
    if newer:
        config.hook.pytest_deselected(items=newer)
        items[:] = [item for item in items if item not in newer]
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("server")
    items.sort(
        key=lambda item: next(
            (n for n, folder in enumerate(LONG) if item.nodeid.startswith(folder)), len(LONG)
        )
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Lower the priority of tests outside tests/e2e, which take longest: at the end, the session waits for them."""
    if "PYTEST_XDIST_WORKER" in os.environ and not item.nodeid.startswith("tests/e2e/") and os.nice(0) == 0:
        os.nice(10)
    counting.count_marked(item)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the counts of `make test-security`."""
    if config.option.markexpr != "security":
        return
    terminalreporter.section("security campaign")
    tests = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call"
    ]
    for line in counting.summary(tests):
        terminalreporter.write_line(line)


def pytest_sessionstart(session: pytest.Session) -> None:
    """End the servers of this process if it is killed. A controller has none, and its workers have guards of their own."""
    if not session.config.getoption("numprocesses", None):
        guard.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Stop the deployment after the last test that uses it: it would use part of a core until the session ends."""
    result = yield
    if item.nodeid.startswith(AIRFLOW) and nextitem and not nextitem.nodeid.startswith(AIRFLOW):
        while _deployments:
            _deployments.pop().supervisor.stop()
    return result


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One PostgreSQL for the session; each test gets a database of its own."""
    folder = tmp_path_factory.mktemp("postgres")
    with Postgres(
        folder / "data", free_port(), token_urlsafe(12), folder / "log", NO_SYNC, versions.postgres_binaries()
    ) as server:
        yield server


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """One embedded ClickHouse service for the session."""
    folder = tmp_path_factory.mktemp("clickhouse")
    with ClickHouse(
        folder / "data", free_port(), "vendas", token_urlsafe(12), folder / "log", short_lived=True
    ) as server:
        yield server


@pytest.fixture(scope="session")
def telemetry() -> Iterator[Receiver]:
    """The receiver of the deployment's metrics and traces."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    """The mail server that receives the deployment's e-mail."""
    with Mailbox() as server:
        yield server


@pytest.fixture(scope="session")
def webhook() -> Iterator[Webhook]:
    """The webhook that receives the deployment's alerts."""
    with Webhook() as server:
        yield server


@pytest.fixture(scope="session")
def ocorrencias_service() -> Iterator[OcorrenciasService]:
    """The service that ocorrencias_cet_rio reads."""
    with OcorrenciasService() as server:
        yield server


@pytest.fixture(scope="session")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
    telemetry: Receiver,
    mailbox: Mailbox,
    webhook: Webhook,
    ocorrencias_service: OcorrenciasService,
) -> Iterator[Deployment]:
    """The servers, and Airflow with a Celery worker and timetables in seconds. All DAGs of the project are paused."""
    bundles = [
        {
            "name": name,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(folder)},
        }
        for name, folder in BUNDLES.items()
    ]
    # The automations of the project and of the tests, together in one folder, because only one is possible.
    automations = tmp_path_factory.mktemp("automations")
    for folder in AUTOMATIONS:
        shutil.copytree(folder, automations, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    variables = {
        "ETL_VENDAS_SCHEDULE": "* * * * * */30",
        "ETL_VENDAS_RECONCILE_SCHEDULE": "never",
        # A history of thousands of rows is then tens of pieces: enough for several workers, and to lose one in the middle.
        "ETL_VENDAS_MAX_ROWS": "500",
        "ETL_VENDAS_TASKS": "4",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        # The files do not change, except one, which its test has parsed again explicitly.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        # By default, the newest file would be read first, whatever the order of the bundles.
        "AIRFLOW__DAG_PROCESSOR__FILE_PARSING_SORT_MODE": "alphabetical",
        # Two schedulers that look twice a second are a tenth of the processors' time of all tests.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
        # So that a killed worker or scheduler is noticed before a test times out.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "AIRFLOW__TRACES__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        # Seconds between the scheduler's counts of queued tasks; a task waits about a second.
        "AIRFLOW__SCHEDULER__TI_METRICS_INTERVAL": "1",
        "ETL_VENDAS_LATE_SECONDS": "20",
        "ALERTAS_EMAIL_PARA": "operacao@example.com, plantao@example.com",
        "AIRFLOW_CONN_SMTP_ALERTAS": json.dumps(mailbox.connection),
        "AIRFLOW_CONN_SLACK_ALERTAS": json.dumps(webhook.connection),
        "AIRFLOW_CONN_HTTP_DADOS_RIO": json.dumps(ocorrencias_service.connection),
        # Never scheduled: only tests trigger it.
        "OCORRENCIAS_SCHEDULE": "0 0 29 2 *",
        # Otherwise, the pauses between tries would be most of a test's time.
        "OCORRENCIAS_PAUSA_SEGUNDOS": "0",
        "OCORRENCIAS_ESPERA_SEGUNDOS": "2",
        "OCORRENCIAS_MAX_MB": "1",
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(mailbox.connection),
        "AUTOMACOES_MODULES_PATH": str(automations),
        "AUTOMACOES_RETRY_SECONDS": "1",
        # The store: failed products are retried at once, and a few hundred orders are several chunks.
        "LOJA_CRIACAO_ESPERA_SEGUNDOS": "0",
        "LOJA_PRECOS_ORIGEM": str(tmp_path_factory.mktemp("fornecedor") / "precos.csv"),
        "LOJA_FILA_PAUSA_SEGUNDOS": "1",
        "LOJA_FILA_VISIBILIDADE_SEGUNDOS": "20",
        "LOJA_FILA_VIGIA_SEGUNDOS": "1",
        "LOJA_PARTE_LINHAS": "100",
        "LOJA_TRECHO_LINHAS": "200",
        # The tasks of tests/e2e/dags wait for files in this folder.
        "GATES": str(tmp_path_factory.mktemp("gates")),
    }
    with Deployment(tmp_path_factory.mktemp("deployment"), variables) as running:
        running.postgres.settings |= NO_SYNC
        running.clickhouse.short_lived = True
        running.start_databases()
        running.start_airflow("api-server", "worker", "dag-processor", "scheduler")
        _deployments.append(running)
        yield running


def new_source(postgres: Postgres) -> str:
    """Create a sales database with its schema and indexes; return its DSN."""
    name = f"vendas_{next(_numbers)}"
    postgres.create_database(name)
    dsn = postgres.dsn(name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for script in ("create_schema.sql", "create_indexes.sql"):
            execute_file(connection, script)
    return dsn


def empty_warehouse(clickhouse: ClickHouse) -> None:
    """Drop the warehouse's databases, which an earlier test may have left."""
    client = borrow(clickhouse)
    for database in ("vendas_dw", "vendas_raw", "vendas_marts"):
        client.command(f"DROP DATABASE IF EXISTS {database} SYNC")
    client.close()


@pytest.fixture
def lab(postgres: Postgres, clickhouse: ClickHouse) -> Lab:
    """A sales system with base data, an empty warehouse, and the mirror between them."""
    empty_warehouse(clickhouse)
    lab = Lab(new_source(postgres), clickhouse)
    lab.execute(BASE_DATA)
    return lab


@pytest.fixture
def busy_lab(postgres: Postgres, clickhouse: ClickHouse) -> Lab:
    """The same, with the base data for the sales simulator."""
    empty_warehouse(clickhouse)
    lab = Lab(new_source(postgres), clickhouse)
    base.create(lab.dsn, clients=100, products=20)
    return lab
