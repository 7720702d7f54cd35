"""What docker-compose.yaml says to Airflow exists: options, commands, connections, queues, variables of DAGs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.prepare import USERS
from include.automacoes import mail
from include.conventions import alerts
from include.conventions.queues import Queue
from include.loja import connections as loja
from include.ocorrencias import connections as ocorrencias
from include.settings import CHAPTERS
from include.tarefas.jobs import connections as jobs
from include.vendas.tables import VENDAS
from local.deployment import airflow
from local.deployment.compose import ComposeError, airflow_environment, interpolate
from local.deployment.settings import Settings
from local.deployment.stack import AIRFLOW_PROCESSES
from local.source.__main__ import main as source_commands
from tests.deploy.conftest import ROOT, Compose

OPTION = re.compile(r"AIRFLOW__([A-Z_]+?)__([A-Z_0-9]+)")
# Of the libraries themselves, checked by the test that receives what they send.
OTHERS = re.compile(r"OTEL_|OPENLINEAGE_|OMP_NUM_THREADS$|DO_NOT_TRACK$|SCARF_ANALYTICS$")
# The store's connections, by the type that include/loja/connections.py takes them for.
LOJA = {
    loja.MYSQL: "mysql",
    loja.RABBITMQ: "amqp",
    loja.SQS: "aws",
    loja.S3: "aws",
    loja.WAREHOUSE: "postgres",
}
# Prints what Airflow knows by itself and by its providers, and how it reads the command lines it is given.
ASK_AIRFLOW = """
import json, sys
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager
from airflow.cli.cli_parser import get_parser
from airflow.providers.celery.executors.celery_executor import app
from kombu.transport.redis import Channel
manager = ProvidersManager()
manager.initialize_providers_configuration()
options = {section: sorted(values["options"]) for section, values in conf.configuration_description.items()}
options["celery_broker_transport_options"] = sorted(Channel.from_transport_options)
json.dump({
    "options": options,
    "connections": sorted(manager.hooks),
    "celery": f"{type(app).__module__}.{type(app).__name__}",
    "commands": [vars(get_parser().parse_args(command))["subcommand"] for command in json.loads(sys.argv[1])],
}, open(sys.argv[2], "w"), default=str)
"""


def own_services(compose: Compose) -> dict[str, list[str]]:
    """Return the command of each service that runs the project's image."""
    return {
        name: service["command"]
        for name, service in compose.services.items()
        if service["image"].startswith("etl-vendas:")
    }


def airflow_commands(compose: Compose) -> list[list[str]]:
    """Return the arguments of every `airflow` command, health checks included."""
    commands = [command for command in own_services(compose).values() if command[0] not in ("python", "bash")]
    for service in compose.services.values():
        for text in service["healthcheck"].get("test", []):
            if text.startswith("airflow "):
                commands.append(shlex.split(text)[1:])
    return commands


@pytest.fixture(scope="module")
def known(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What Airflow answers in a process of its own: commands depend on the executor that is set."""
    answer = tmp_path_factory.mktemp("airflow") / "answer.json"
    shared = airflow_environment(compose.variables)
    subprocess.run(
        [sys.executable, "-c", ASK_AIRFLOW, json.dumps(airflow_commands(compose)), str(answer)],
        env={**os.environ, **shared, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "config")))},
        check=True,
        capture_output=True,
    )
    return dict(json.loads(answer.read_text()))


def test_every_option_exists(compose: Compose, known: dict[str, dict[str, list[str]]]) -> None:
    found = 0
    for service in [compose.raw["x-airflow-environment"]] + [
        service.get("environment", {}) for service in compose.services.values()
    ]:
        for match in filter(None, map(OPTION.fullmatch, service)):
            section, option = match[1].lower(), match[2].lower()
            assert option in known["options"][section], f"[{section}] {option}"
            found += 1
    assert found > 100


def test_every_command_is_one_of_airflow(compose: Compose, known: dict[str, list[str]]) -> None:
    # A wrong word or option would have ended the parser; nested commands are known by their last word.
    assert len(known["commands"]) == len(airflow_commands(compose))
    assert set(known["commands"]) == {
        *("api-server", "scheduler", "dag-processor", "triggerer", "worker", "flower", "check"),
    }


def test_the_health_of_a_worker_is_asked_by_the_name_it_has(compose: Compose, known: dict[str, str]) -> None:
    assert known["celery"] == "celery.app.base.Celery"
    text = compose.services["airflow-worker"]["healthcheck"]["test"][1]
    assert "--app airflow.providers.celery.executors.celery_executor.app " in text
    name = compose.services["airflow-worker"]["command"][-1]
    assert name.endswith("@%h")
    assert f'--destination "{name.removesuffix("%h")}$HOSTNAME"' in text


def test_other_commands_exist(compose: Compose) -> None:
    shell = own_services(compose)["simulator"]
    assert shell[:2] == ["bash", "-c"]
    subprocess.run(["/usr/bin/env", "bash", "-n", "-c", shell[2]], check=True)
    commands = [shlex.split(part.replace("exec ", "")) for part in shell[2].split("&&")]
    commands.append(compose.services["simulator"]["healthcheck"]["test"][1:])
    for command in commands:
        assert command[:3] == ["python", "-m", "local.source"]
        found = source_commands.commands[command[3]]
        options = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in command[4:] if word.startswith("--")} <= options
    assert {command[3] for command in commands} == {"create", "simulate", "selling"}

    init = compose.services["init"]
    assert init["command"][:2] == ["python", "-m"]
    assert importlib.util.find_spec(init["command"][2]) is not None
    assert {variable for variable, _ in USERS.values()} <= set(init["environment"])


def test_workers_serve_every_queue_the_highest_first(compose: Compose) -> None:
    command = compose.services["airflow-worker"]["command"]
    assert command[command.index("--queues") + 1] == ",".join(Queue)


def test_connections_are_those_that_the_project_asks_for(
    compose: Compose, known: dict[str, list[str]]
) -> None:
    from airflow.sdk import Connection

    shared = airflow_environment(compose.variables)
    ids = {
        name.removeprefix("AIRFLOW_CONN_").lower(): value
        for name, value in shared.items()
        if name.startswith("AIRFLOW_CONN_")
    }
    optional = {alerts.SMTP, alerts.SLACK, mail.SMTP, loja.SUPPLIER}
    assert set(ids) == {
        *(VENDAS.source, VENDAS.warehouse, ocorrencias.HTTP, jobs.POSTGRES, jobs.API),
        *(optional | LOJA.keys()),
    }
    assert VENDAS.warehouse == ocorrencias.CLICKHOUSE
    for conn_id, value in ids.items():
        if conn_id in optional:
            assert value == ""  # off, until somebody gives it an address
            continue
        is_json = value.startswith("{")
        connection = Connection.from_json(value, conn_id) if is_json else Connection.from_uri(value, conn_id)
        if conn_id in LOJA:
            assert connection.conn_type == LOJA[conn_id]
            assert len(connection.password or "") == 48
            continue
        assert connection.conn_type in known["connections"]
        if conn_id == ocorrencias.HTTP:
            assert (connection.schema, connection.host, connection.port) == ("https", "api.dados.rio", 443)
            assert connection.password is None  # it is open to everybody
            assert connection.extra_dejson
            continue
        assert (connection.host, connection.port) in {
            *(("source", 5432), ("clickhouse", 8123), ("metadata", 5432), ("api-server", 8080)),
        }
        assert len(connection.password or "") == 48
        assert bool(connection.extra_dejson) == is_json


def test_variables_of_the_dags_are_those_that_the_project_reads(compose: Compose) -> None:
    named = {
        name
        for name in compose.raw["x-airflow-environment"]
        if not name.startswith("AIRFLOW") and not OTHERS.match(name)
    }
    # A worker's name is its own, and of no service in particular.
    groups = (group for _, _, chapter in CHAPTERS for group in chapter)
    read = {setting.variable.format(NAME="VENDAS") for group in groups for setting in group.listed()}
    read.remove("WORKER_NAME")
    assert named == read


def test_the_embedded_deployment_runs_in_the_same_environment(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path)
    native = airflow.environment(settings)
    defined = airflow_environment({**os.environ, "WORKER_CONCURRENCY": "2"} | secrets_of(settings))
    assert set(defined) <= set(native)
    different = {name for name, value in defined.items() if native[name] != value}
    # Addresses and folders, and nothing else.
    assert different == {
        "AUTOMACOES_REPORTS_PATH",
        "OCORRENCIAS_PASTA",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__API__BASE_URL",
        "AIRFLOW__CELERY__BROKER_URL",
        "AIRFLOW__CELERY__RESULT_BACKEND",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "AIRFLOW_CONN_POSTGRES_VENDAS",
        "AIRFLOW_CONN_CLICKHOUSE_DW",
        "AIRFLOW_CONN_POSTGRES_JOBS",
        "AIRFLOW_CONN_AIRFLOW_API",
        *(f"AIRFLOW_CONN_{name.upper()}" for name in LOJA),
    }
    # Folders, waits, and where it listens.
    assert {name for name in native if name.startswith("AIRFLOW")} - set(defined) == {
        "AIRFLOW_HOME",
        "AIRFLOW__CORE__DAGS_FOLDER",
        "AIRFLOW__CORE__PLUGINS_FOLDER",
        "AIRFLOW__API__HOST",
        "AIRFLOW__API__PORT",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES",
    }


def secrets_of(settings: Settings) -> dict[str, str]:
    return {
        "METADATA_PASSWORD": settings.postgres_password,
        "REDIS_PASSWORD": settings.redis_password,
        "JOBS_PASSWORD": settings.jobs_password,
        "AGENDADOR_PASSWORD": settings.agendador_password,
        "FERNET_KEY": settings.fernet_key,
        "API_SECRET_KEY": settings.api_secret_key,
        "JWT_SECRET": settings.jwt_secret,
        "SOURCE_PASSWORD": settings.reader_password,
        "WAREHOUSE_PASSWORD": settings.clickhouse_password,
        "MYSQL_LOJA_PASSWORD": settings.mariadb_password,
        "RABBITMQ_LOJA_PASSWORD": settings.rabbitmq_password,
        "SQS_LOJA_PASSWORD": settings.aws_secret_key,
        "STAGE_LOJA_PASSWORD": settings.aws_secret_key,
        "REDSHIFT_DW_PASSWORD": settings.redshift_password,
    }


@pytest.mark.parametrize("name", sorted(AIRFLOW_PROCESSES))
def test_the_embedded_deployment_runs_the_same_commands(compose: Compose, tmp_path: Path, name: str) -> None:
    process = AIRFLOW_PROCESSES[name](Settings.load(tmp_path), {}, tmp_path / "log")
    command = process.command()
    assert command[:3] == [sys.executable, "-m", "airflow"]
    # Whose log server would listen on every interface of the machine.
    native = [word for word in command[3:] if word != "--skip-serve-logs"]
    service = "airflow-worker" if name == "worker" else name
    assert native == compose.services[service]["command"]


def test_variable_without_a_value_is_named() -> None:
    assert interpolate("a ${B:?} $$C ${D:-}", {"B": "1"}) == "a 1 $C "
    with pytest.raises(ComposeError, match="B has no value"):
        interpolate("${B:?say so}", {"B": ""})
