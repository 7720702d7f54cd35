"""One deployment in a folder: the three servers, Airflow's processes and the sales simulator.

    with Deployment(folder) as deployment:
        deployment.start_databases()
        deployment.start_airflow("api-server", "scheduler", "dag-processor", "worker")

Nothing outside the folder is written, everything listens on 127.0.0.1 only, and leaving the `with` block
leaves no process behind.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

from local import airflow
from local.airflow import AirflowProcess
from local.clickhouse import ClickHouse
from local.postgres import Postgres
from local.redis import Redis
from local.server import Server, ServerError
from local.settings import Settings
from local.supervisor import Supervisor

AIRFLOW_PROCESSES: dict[str, type[AirflowProcess]] = {
    process.name: process
    for process in (
        airflow.ApiServer,
        airflow.Scheduler,
        airflow.DagProcessor,
        airflow.Triggerer,
        airflow.Worker,
    )
}


class Deployment:
    """The processes of the deployment in `folder`; `variables` are added to the environment of Airflow's.

    `report` is called with one line for each thing that happens.
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
        """Take the folder and its settings.

        Raises AlreadyRunningError when another process runs it, SettingsError when its settings are damaged.
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
        data = self.folder / "data"
        self.postgres = Postgres(
            data / "postgres", settings.postgres_port, settings.postgres_password, self.log("postgres")
        )
        self.redis = Redis(data / "redis", settings.redis_port, settings.redis_password, self.log("redis"))
        self.clickhouse = ClickHouse(
            data / "clickhouse",
            settings.clickhouse_port,
            settings.clickhouse_user,
            settings.clickhouse_password,
            self.log("clickhouse"),
        )

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.folder / "logs" / f"{name}.log"

    @property
    def source_dsn(self) -> str:
        """Return the libpq URI of the source database."""
        return self.settings.dsn(self.settings.source_database)

    def start_databases(self) -> None:
        """Start PostgreSQL, Redis and ClickHouse; create the two databases unless they are there."""
        self.supervisor.start(self.postgres, self.redis, self.clickhouse)
        self.postgres.create_database(self.settings.source_database)
        self.postgres.create_database(self.settings.metadata_database)

    def prepare_airflow(self) -> None:
        """Migrate the metadata database; create roles and the admin user. Nothing to do the second time.

        Raises ServerError with the end of the log when it fails.
        """
        marker = self.folder / "airflow" / "prepared-for"
        wanted = " ".join(
            f"{package}=={version(package)}" for package in ("apache-airflow", "apache-airflow-providers-fab")
        )
        if marker.exists() and marker.read_text() == wanted:
            return
        marker.parent.mkdir(parents=True, exist_ok=True)
        log = self.log("prepare")
        with log.open("ab") as output:
            result = subprocess.run(
                [sys.executable, "-m", "local.prepare"],
                env={
                    **self.environment,
                    "ADMIN_USER": self.settings.admin_user,
                    "ADMIN_PASSWORD": self.settings.admin_password,
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
        """Prepare the metadata database and start the named processes (keys of AIRFLOW_PROCESSES)."""
        self.prepare_airflow()
        self.start(
            *(AIRFLOW_PROCESSES[name](self.settings, self.environment, self.log(name)) for name in names)
        )

    def start(self, *servers: Server) -> None:
        """Start further servers, side by side, under the deployment's supervision."""
        self.supervisor.start(*servers)
