"""One deployment in a folder: the three servers, Airflow's processes and the sales simulator.

    with Deployment(folder) as deployment:
        deployment.start_databases()
        deployment.start_airflow("api-server", "worker", "dag-processor", "scheduler")

It writes only inside the folder, all servers listen only on 127.0.0.1, and no process remains after the `with` block.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from include.conventions import pools
from include.tarefas.jobs import database
from local.deployment import airflow
from local.deployment.airflow import AirflowProcess
from local.deployment.loja import Loja
from local.deployment.settings import REPOSITORY, Settings
from local.deployment.supervisor import Supervisor
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from local.servers.redis import Redis
from local.servers.server import Server, ServerError
from local.source.base import create, execute_file
from local.source.bulk import bulk

# They stop in reverse order: the scheduler stops first, so no new task is sent, and the API server last, so that running
# tasks can report to it.
AIRFLOW_PROCESSES: dict[str, type[AirflowProcess]] = {
    process.name: process
    for process in (
        airflow.ApiServer,
        airflow.Worker,
        airflow.Triggerer,
        airflow.DagProcessor,
        airflow.Scheduler,
    )
}


def postgres_server(settings: Settings) -> Postgres:
    """Return the deployment's PostgreSQL, not started."""
    return Postgres(
        settings.data("postgres"),
        settings.postgres_port,
        settings.postgres_password,
        settings.log("postgres"),
    )


def redis_server(settings: Settings) -> Redis:
    """Return the deployment's Redis, not started."""
    return Redis(settings.data("redis"), settings.redis_port, settings.redis_password, settings.log("redis"))


def clickhouse_server(settings: Settings) -> ClickHouse:
    """Return the deployment's ClickHouse service, not started. Its `client` also works if another process started it."""
    return ClickHouse(
        settings.data("clickhouse"),
        settings.clickhouse_port,
        settings.clickhouse_user,
        settings.clickhouse_password,
        settings.log("clickhouse"),
    )


class Simulator(Server):
    """The sales simulator on the deployment's source database, with `rate` sales per second."""

    name = "simulator"
    stop_timeout = 10.0

    def __init__(self, settings: Settings, rate: float) -> None:
        super().__init__(settings.postgres_port, settings.log("simulator"))
        self.settings = settings
        self.rate = rate

    def command(self) -> list[str]:
        # A new seed for each start: the same seed would repeat the same sales to the same clients.
        return [
            *(sys.executable, "-m", "local.source", "simulate"),
            *("--rate", f"{self.rate:g}", "--seed", str(int(time.time())), "--every", "60"),
        ]

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "SOURCE_DSN": self.settings.source_dsn,
            "PYTHONPATH": str(REPOSITORY),
        }

    def ready(self) -> bool:
        # It listens on no port: it is ready when it runs.
        return self.process is not None and self.process.poll() is None


def fill(dsn: str, sales: int) -> str:
    """Create the source's schema, base data and reader role, and past sales if it has none; return a line about it."""
    create(dsn, indexes=True)
    with psycopg.connect(dsn) as source:
        execute_file(source, "create_reader_role.sql")
        found = source.execute("SELECT count(*) FROM venda").fetchone()
    if found and found[0]:
        return f"the source has {found[0]:,} sales of an earlier start"
    filled = bulk(dsn, sales)
    return f"filled the source with {filled.sales:,} sales and {filled.items:,} items"


class Deployment:
    """The processes of the deployment in `folder`. `variables` are added to the environment of Airflow's processes.

    `report` is called with one line per event.
    """

    def __init__(
        self,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder.resolve()
        self.report = report
        self.supervisor = Supervisor(self.folder, report)
        self._variables = dict(variables or {})

    def __enter__(self) -> Self:
        """Lock the folder, and load its settings.

        Raises AlreadyRunningError if another process uses the folder, SettingsError if its settings are damaged.
        """
        self.supervisor.__enter__()
        try:
            self._configure(Settings.load(self.folder).with_free_ports())
        except BaseException as error:
            self.supervisor.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.supervisor.__exit__(kind, error, trace)

    def _configure(self, settings: Settings) -> None:
        self.settings = settings
        self.environment = airflow.environment(settings, self._variables)
        self.postgres = postgres_server(settings)
        self.redis = redis_server(settings)
        self.clickhouse = clickhouse_server(settings)

    def start_databases(self) -> None:
        """Start PostgreSQL, Redis and ClickHouse; create missing databases and roles."""
        self.supervisor.start(self.postgres, self.redis, self.clickhouse)
        self.postgres.create_database(self.settings.source_database)
        self.postgres.create_database(self.settings.metadata_database)
        # As in the container, Airflow's role is a superuser. Only the mirror's role must have limited rights.
        self.postgres.create_role(airflow.METADATA_USER, self.settings.postgres_password, superuser=True)
        self.postgres.create_role(airflow.READER, self.settings.reader_password)

    def start_loja(self) -> Loja:
        """Start the store's servers; create missing databases and the bucket. Call it after `start_databases`.

        Raises DebianError if their programs can't be fetched.
        """
        servers = Loja.of(self.settings)
        self.supervisor.start(*servers.servers)
        servers.prepare(self.postgres)
        return servers

    def prepare_airflow(self) -> None:
        """Migrate the databases of Airflow and of the jobs; create pools, roles and users. Does nothing if that is done.

        Raises ServerError with the end of the log if it fails, ValueError for an invalid size of a pool.
        """
        marker = self.folder / "airflow" / "prepared-for"
        packages = ("apache-airflow", "apache-airflow-providers-fab")
        wanted = "\n".join(
            [
                *(f"{package}=={version(package)}" for package in packages),
                *(f"{pool.name}: {pool.slots} slots" for pool in pools.load()),
                f"jobs: {database.head()}",
            ]
        )
        if marker.exists() and marker.read_text() == wanted:
            return
        marker.parent.mkdir(parents=True, exist_ok=True)
        log = self.settings.log("prepare")
        with log.open("ab") as output:
            result = subprocess.run(
                [sys.executable, "-m", "deploy.prepare"],
                env={
                    **self.environment,
                    "ADMIN_PASSWORD": self.settings.admin_password,
                    "OPERATOR_PASSWORD": self.settings.operator_password,
                    "VIEWER_PASSWORD": self.settings.viewer_password,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if result.returncode != 0:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise ServerError(f"Airflow's metadata database could not be prepared; the end of {log}:\n{end}")
        marker.write_text(wanted)
        self.report("Airflow's metadata database is ready")

    def start_airflow(self, *names: str) -> None:
        """Prepare the metadata database, and start the named processes (keys of AIRFLOW_PROCESSES)."""
        self.prepare_airflow()
        self.start(
            *(
                AIRFLOW_PROCESSES[name](self.settings, self.environment, self.settings.log(name))
                for name in names
            )
        )

    def start(self, *servers: Server) -> None:
        """Start more servers in parallel, under the deployment's supervisor."""
        self.supervisor.start(*servers)
