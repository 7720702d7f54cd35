"""trigger_script.py with an API of recorded answers: its users and its addresses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.tls import Authority
from tests.trigger.faulty import Faulty
from tests.trigger.recorded import Airflow
from tests.trigger.script import Script
from tests.trigger.users import User
from trigger.single import single


@pytest.fixture(scope="package")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Script:
    """The script as one file, alone in a folder, without a login in its environment."""
    folder = tmp_path_factory.mktemp("trigger")
    (folder / "home").mkdir()
    (folder / "trigger_script.py").write_text(single(), encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder / "home"),
        "TZ": "UTC",
    }
    return Script(folder / "trigger_script.py", environment)


@pytest.fixture(scope="package")
def airflow() -> Airflow:
    """The API of recorded answers, which keeps the created runs."""
    return Airflow()


@pytest.fixture(scope="package")
def url(airflow: Airflow) -> Iterator[str]:
    """The address of the API, without faults."""
    with Faulty(airflow) as server:
        yield server.url


@pytest.fixture(scope="package")
def viewer(airflow: Airflow) -> User:
    """A user who may only read."""
    return airflow.users["viewer"]


@pytest.fixture(scope="package")
def operator(airflow: Airflow) -> User:
    """A user who may also trigger, and who is not the admin."""
    return airflow.users["operator"]


@pytest.fixture(scope="package")
def script(alone: Script, airflow: Airflow, url: str) -> Script:
    """The script, with the admin's login in its environment."""
    admin = airflow.users["admin"]
    return alone.having(AIRFLOW_API_URL=url, AIRFLOW_USERNAME=admin.name, AIRFLOW_PASSWORD=admin.password)


@pytest.fixture
def faulty(airflow: Airflow) -> Iterator[Faulty]:
    """A second address of the API, with faults on request."""
    with Faulty(airflow) as server:
        yield server


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that is not trusted by default."""
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture
def encrypted(airflow: Airflow, authority: Authority) -> Iterator[Faulty]:
    """The same with TLS."""
    with Faulty(airflow, authority.issue("server")) as server:
        yield server


@pytest.fixture
def run_ids(airflow: Airflow) -> Callable[[str], set[str]]:
    """A function that returns the ids of a DAG's runs."""
    return lambda dag_id: set(airflow.runs.get(dag_id, ()))
