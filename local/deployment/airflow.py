"""Airflow in a deployment: its processes, and the environment that they share.

All configuration is in environment variables, which docker-compose.yaml defines. So no command line contains a secret, and
Airflow's own file (`airflow.cfg`) has no effect.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import psycopg
import redis

from include.conventions.queues import Queue
from local.deployment import loja
from local.deployment.compose import airflow_environment
from local.deployment.settings import REPOSITORY, Settings
from local.servers.server import Server

QUEUES = tuple(queue.value for queue in Queue)
# The roles that docker-compose.yaml and include/sql/source/create_reader_role.sql name.
METADATA_USER = "airflow"
READER = "mirror_reader"


def environment(settings: Settings, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of every process of the deployment; `extra` overrides all other values.

    It is the environment in docker-compose.yaml, with the services' addresses replaced by those of this deployment.
    Airflow's variables of the calling shell are dropped, because they may name another deployment. The settings of the DAGs
    (`ETL_VENDAS_…`, `OCORRENCIAS_…`, `LOJA_…`) are inherited.
    """
    here = {
        "api-server:8080": f"127.0.0.1:{settings.api_port}",
        "metadata:5432": f"127.0.0.1:{settings.postgres_port}",
        "redis:6379": f"127.0.0.1:{settings.redis_port}",
        # Used with TELEMETRY=True: the protocol's default port, where a collector may listen.
        "otel-collector:4318": "127.0.0.1:4318",
    }
    shared = airflow_environment(
        {
            "METADATA_PASSWORD": settings.postgres_password,
            "REDIS_PASSWORD": settings.redis_password,
            "JOBS_PASSWORD": settings.jobs_password,
            "AGENDADOR_PASSWORD": settings.agendador_password,
            "FERNET_KEY": settings.fernet_key,
            "API_SECRET_KEY": settings.api_secret_key,
            "JWT_SECRET": settings.jwt_secret,
            "UI_URL": settings.url,
            "SOURCE_HOST": "127.0.0.1",
            "SOURCE_PORT": str(settings.postgres_port),
            "SOURCE_DATABASE": settings.source_database,
            "SOURCE_USER": READER,
            "SOURCE_PASSWORD": settings.reader_password,
            "WAREHOUSE_HOST": "127.0.0.1",
            "WAREHOUSE_PORT": str(settings.clickhouse_port),
            "WAREHOUSE_USER": settings.clickhouse_user,
            "WAREHOUSE_PASSWORD": settings.clickhouse_password,
            "WORKER_CONCURRENCY": "2",
            **loja.variables(settings),
        }
    )
    for service, address in here.items():
        shared = {name: value.replace(service, address) for name, value in shared.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **inherited,
        **shared,
        # For `include`, and for the cluster policy in `config`.
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "config"))),
        "AIRFLOW_HOME": str(settings.folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        # The calling shell may name other folders.
        "OCORRENCIAS_PASTA": inherited.get("OCORRENCIAS_PASTA") or str(settings.folder / "ocorrencias"),
        "AUTOMACOES_REPORTS_PATH": inherited.get("AUTOMACOES_REPORTS_PATH")
        or str(settings.folder / "reports"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.api_port),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(settings.logs / "tasks"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(settings.logs / "dags"),
        # The default is for a cluster. On one machine, the pauses between a run's tasks would be most of its duration.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        **(extra or {}),
    }


class AirflowProcess(Server):
    """One long-running `airflow …` command."""

    # Long enough for the first imports on a small, busy machine.
    start_timeout = 120.0
    stop_timeout = 20.0

    def __init__(self, settings: Settings, variables: Mapping[str, str], log: Path) -> None:
        super().__init__(settings.api_port, log)
        self.settings = settings
        self.variables = dict(variables)

    def environment(self) -> dict[str, str]:
        return self.variables

    def airflow(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *arguments]


class ApiServer(AirflowProcess):
    name = "api-server"

    def command(self) -> list[str]:
        return self.airflow("api-server")

    def ready(self) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v2/monitor/health", timeout=5)
        except httpx.HTTPError:
            return False
        return answer.is_success


class JobProcess(AirflowProcess):
    """A process that registers itself in the metadata table `job`. It is ready when its row is there."""

    job_type: str

    def ready(self) -> bool:
        if self.process is None:
            return False
        # Importing Airflow takes seconds, and more frequent checks would only take CPU from it.
        time.sleep(0.25)
        with psycopg.connect(self.settings.dsn(self.settings.metadata_database)) as metadata:
            found = metadata.execute(
                "SELECT 1 FROM job WHERE job_type = %s AND state = 'running' AND id > %s",
                (self.job_type, self.last_job),
            ).fetchone()
        return found is not None

    def start(self) -> JobProcess:
        with psycopg.connect(self.settings.dsn(self.settings.metadata_database)) as metadata:
            newest = metadata.execute(
                "SELECT coalesce(max(id), 0) FROM job WHERE job_type = %s", (self.job_type,)
            ).fetchone()
        self.last_job = newest[0] if newest else 0
        super().start()
        return self


class Scheduler(JobProcess):
    name = "scheduler"
    job_type = "SchedulerJob"

    def command(self) -> list[str]:
        return self.airflow("scheduler", "--skip-serve-logs")


class DagProcessor(JobProcess):
    name = "dag-processor"
    job_type = "DagProcessorJob"

    def command(self) -> list[str]:
        return self.airflow("dag-processor")


class Triggerer(JobProcess):
    name = "triggerer"
    job_type = "TriggererJob"

    # Its log server would listen on all interfaces, and is not needed: the logs are on this machine's disk.
    def command(self) -> list[str]:
        return self.airflow("triggerer", "--skip-serve-logs")


class Worker(AirflowProcess):
    """A Celery worker on all queues, `high` first. After SIGTERM it finishes its running tasks."""

    name = "worker"
    stop_timeout = 45.0
    hostname = "servidor01"
    queues = QUEUES

    def command(self) -> list[str]:
        return self.airflow(
            *("celery", "worker", "--queues", ",".join(self.queues)),
            *("--celery-hostname", f"{self.hostname}@%h"),
            # Its log server would listen on all interfaces, and is not needed: the logs are on this machine's disk.
            "--skip-serve-logs",
        )

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "WORKER_NAME": self.hostname}

    def ready(self) -> bool:
        time.sleep(0.25)
        with redis.Redis(
            host="127.0.0.1", port=self.settings.redis_port, password=self.settings.redis_password
        ) as broker:
            return bool(broker.client_list(_type="pubsub"))
