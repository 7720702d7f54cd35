"""The Airflow side of a deployment: the environment all its processes share, and the processes.

Everything is handed over in environment variables: no argument vector holds a secret, and no file of
Airflow's own (`airflow.cfg`) decides anything.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import psycopg
import redis

from include.conventions import workers
from include.conventions.queues import Queue
from local.server import Server
from local.settings import REPOSITORY, Settings

QUEUES = tuple(queue.value for queue in Queue)


def connection(conn_type: str, **fields: object) -> str:
    """Return an Airflow connection in its JSON form, for an `AIRFLOW_CONN_…` variable."""
    return json.dumps({"conn_type": conn_type, "host": "127.0.0.1", **fields})


def environment(settings: Settings, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of every process of the deployment; `extra` wins over what stands here.

    Airflow settings of the calling shell are left out: they would point the processes somewhere else. Those
    of the DAGs (`ETL_VENDAS_…`) come through.
    """
    metadata = f"postgres:{settings.postgres_password}@127.0.0.1:{settings.postgres_port}/{settings.metadata_database}"
    api = f"http://127.0.0.1:{settings.api_port}"
    options = {
        "core": {
            "executor": "CeleryExecutor",
            "auth_manager": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "dags_folder": str(REPOSITORY / "dags"),
            "plugins_folder": str(REPOSITORY / "plugins"),
            "load_examples": "False",
            "fernet_key": settings.fernet_key,
            "execution_api_server_url": f"{api}/execution/",
            "hostname_callable": "include.conventions.workers.hostname",
            # Above any load of one machine: who waits should wait in a queue of the broker, where a run of
            # a higher queue overtakes it. These would hold it back before that.
            "parallelism": "128",
            "max_active_tasks_per_dag": "128",
            "max_active_runs_per_dag": "128",
        },
        "database": {"sql_alchemy_conn": f"postgresql+psycopg2://{metadata}"},
        "api": {
            "base_url": api,
            "host": "127.0.0.1",
            "port": str(settings.api_port),
            "workers": "1",
            "secret_key": settings.api_secret_key,
        },
        "api_auth": {"jwt_secret": settings.jwt_secret},
        "celery": {
            "broker_url": f"redis://:{settings.redis_password}@127.0.0.1:{settings.redis_port}/0",
            "result_backend": f"db+postgresql+psycopg2://{metadata}",
            "worker_concurrency": "2",
            # Airflow's own defaults, which the order of the queues rests on: a worker takes no message before
            # it can run it.
            "worker_prefetch_multiplier": "1",
            "task_acks_late": "True",
        },
        "celery_broker_transport_options": {
            # A day, Airflow's own default, said aloud only because it warns at every start otherwise.
            "visibility_timeout": "86400",
            # The first queue of a worker's list first; the default takes turns.
            "queue_order_strategy": "priority",
        },
        "scheduler": {
            # The defaults suit a cluster. On one machine the waits between a run's tasks are most of its time.
            "scheduler_idle_sleep_time": "0.5",
            "task_instance_heartbeat_timeout": "60",
            # After this a task that waits in a queue counts as lost. A low one may wait long, lawfully.
            "task_queued_timeout": "86400",
        },
        "dag_processor": {"parsing_processes": "1"},
        "logging": {
            "base_log_folder": str(settings.logs / "tasks"),
            "dag_processor_child_process_log_directory": str(settings.logs / "dags"),
            "colored_console_log": "False",
        },
        "metrics": {"statsd_on": "False", "otel_on": "False"},
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **inherited,
        "AIRFLOW_HOME": str(settings.folder / "airflow"),
        # Where `include` and the cluster policy are found.
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "config"))),
        "SCARF_ANALYTICS": "false",
        "DO_NOT_TRACK": "1",
        # A fork of a process that runs these thread pools may hang; two cores gain nothing from them.
        "OMP_NUM_THREADS": "1",
        **{
            f"AIRFLOW__{section.upper()}__{key.upper()}": value
            for section, values in options.items()
            for key, value in values.items()
        },
        "AIRFLOW_CONN_POSTGRES_VENDAS": connection(
            "postgres",
            port=settings.postgres_port,
            login="postgres",
            password=settings.postgres_password,
            schema=settings.source_database,
        ),
        "AIRFLOW_CONN_CLICKHOUSE_DW": connection(
            "clickhouse",
            port=settings.clickhouse_port,
            login=settings.clickhouse_user,
            password=settings.clickhouse_password,
            # Over loopback, compressing costs CPU and saves nothing.
            extra={"compress": False},
        ),
        **(extra or {}),
    }


class AirflowProcess(Server):
    """One long-running `airflow …` command."""

    # Cold imports on a busy small machine take most of this.
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
    """A process that registers itself in the metadata table `job`; it is ready once it did so."""

    job_type: str

    def ready(self) -> bool:
        if self.process is None:
            return False
        # Importing Airflow takes seconds: asking more often only takes CPU from it.
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

    # Its log server would listen on every interface; the logs are on this machine's disk anyway.
    def command(self) -> list[str]:
        return self.airflow("triggerer", "--skip-serve-logs")


class Worker(AirflowProcess):
    """A Celery worker on every queue, `high` first; SIGTERM lets the tasks it runs come to their end."""

    name = "worker"
    stop_timeout = 45.0
    hostname = "servidor01"
    queues = QUEUES

    def command(self) -> list[str]:
        return self.airflow(
            *("celery", "worker", "--queues", ",".join(self.queues)),
            *("--celery-hostname", f"{self.hostname}@%h"),
            # Its log server would listen on every interface; the logs are on this machine's disk anyway.
            "--skip-serve-logs",
        )

    def environment(self) -> dict[str, str]:
        return {**super().environment(), workers.VARIABLE: self.hostname}

    def ready(self) -> bool:
        time.sleep(0.25)
        with redis.Redis(
            host="127.0.0.1", port=self.settings.redis_port, password=self.settings.redis_password
        ) as broker:
            return bool(broker.client_list(_type="pubsub"))
