"""The values of the Helm chart say what docker-compose.yaml says, and hold no secret. The chart was not rendered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from deploy.prepare import USERS
from include.airflow_mirror import settings
from include.conventions.queues import Queue
from tests.deploy.conftest import ROOT, Compose

VALUES = ROOT / "deploy" / "kubernetes" / "values.yaml"


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return dict(yaml.safe_load(VALUES.read_text()))


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}")
    elif isinstance(node, list):
        for value in node:
            yield from leaves(value, path)
    else:
        yield path, node


def test_airflow_is_configured_as_in_the_compose_file(values: dict[str, Any], compose: Compose) -> None:
    environment = compose.filled["x-airflow-environment"]
    for section, options in values["config"].items():
        for option, value in options.items():
            assert environment[f"AIRFLOW__{section}__{option}".upper()] == str(value), (section, option)
    assert environment["AIRFLOW__CORE__EXECUTOR"] == values["executor"]
    assert {entry["name"] for entry in values["env"]} <= set(environment)


def test_airflow_is_the_locked_one(values: dict[str, Any]) -> None:
    locked = re.search(r"^apache-airflow==(\S+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert locked
    assert values["airflowVersion"] == locked[1]


def test_secrets_are_names_of_secrets(values: dict[str, Any]) -> None:
    for path, value in leaves(values):
        if re.search(r"secret(Name|KeyRef\.name)$", path, re.I):
            assert value.startswith("etl-vendas-"), path
        else:
            assert not re.search(
                r"(password|pass|fernetKey|jwtSecret|SecretKey|connection|brokerUrl)$", path
            ), path
    given = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in values["migrateDatabaseJob"]["env"]
    }
    assert {variable: key["key"] for variable, key in given.items()} == {
        variable: user for user, (variable, _) in USERS.items()
    }


def test_workers_serve_every_queue_and_the_autoscaler_counts_the_same(values: dict[str, Any]) -> None:
    celery = values["workers"]["celery"]
    served = re.search(r"--queues (\S+)", celery["args"][-1])
    assert served
    assert served[1].split(",") == [queue.value for queue in Queue]
    query = celery["keda"]["query"]
    assert set(re.findall(r"'(\w+)'", query.partition("queue IN")[2])) == {queue.value for queue in Queue}
    divisor = re.search(r"/ (\d+)", query)
    assert divisor
    assert int(divisor[1]) == values["config"]["celery"]["worker_concurrency"]


def test_a_pod_that_is_taken_away_has_time_to_end_its_tasks(values: dict[str, Any]) -> None:
    grace = values["workers"]["celery"]["terminationGracePeriodSeconds"]
    assert grace > settings.load("vendas").timeout.total_seconds()
