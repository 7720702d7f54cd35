"""A run id that is there already: the same call finds its run, another one is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.include.tarefas.api.conftest import Airflow

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with")

CALL = {"tarefa": "add", "args": [1, 2], "run_id": "mine"}
CONF = {"tarefa": "tools.add", "args": [1, 2], "kwargs": {}, "queue": "default"}
Make = Callable[..., None]


@pytest.fixture
def make(tokens: dict[str, str], airflow: Airflow) -> Iterator[Make]:
    """Put the run `mine` into the metadata database; Airflow says from then on that it is there."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete, insert

    def make(
        delay: timedelta = timedelta(),
        took: timedelta = timedelta(),
        stored: Any = None,
        by: str | None = "olga",
        **conf: Any,
    ) -> None:
        created = datetime.now(UTC) - timedelta(hours=1)
        airflow.status, airflow.detail = 409, {"reason": "Unique constraint violation"}
        with create_session() as session:
            session.execute(
                insert(DagRun).values(
                    dag_id="executar_tarefa",
                    run_id="mine",
                    run_type="manual",
                    conf={**CONF, **conf} if stored is None else stored,
                    created_at=created,
                    run_after=created - took + delay,
                    clear_number=0,
                    triggering_user_name=by,
                )
            )

    yield make
    with create_session() as session:
        session.execute(delete(DagRun))


def test_the_same_call_finds_its_run(operator: TestClient, make: Make) -> None:
    make()
    answer = operator.post("/queue-task", json=CALL)
    assert answer.status_code == 200, answer.text
    assert answer.json()["run_id"] == "mine"
    assert answer.json()["message"] == "task is there already, on default queue."
    # The same, said in another way.
    said = {
        "module": "tools",
        "function": "add",
        "args": [1, 2],
        "kwargs": {},
        "queue": "default",
        "run_id": "mine",
    }
    assert operator.post("/queue-task", json=said).status_code == 200


@pytest.mark.parametrize(("by", "status"), [("vera", 409), ("olga", 200), (None, 200)])
def test_the_run_of_another_user_is_not_found_and_said_whose_it_is(
    operator: TestClient, make: Make, by: str | None, status: int
) -> None:
    make(by=by)
    answer = operator.post("/queue-task", json=CALL)
    assert answer.status_code == status, answer.text
    if status == 409:
        assert answer.json()["message"] == "run_id mine belongs to a run of vera; take another one, or none"


@pytest.mark.parametrize(
    "stored",
    [
        # By the service, before there was one shape.
        {"module": "tools", "function": "add", "args": [1, 2], "kwargs": {}, "queue": "default"},
        # By the form of the UI then, and by others that Airflow asks for no check.
        {"tarefa": "tools.add", "args": [1, 2], "kwargs": {}, "module": None, "function": None},
        {"tarefa": "add", "args": [1, 2]},
    ],
    ids=str,
)
def test_a_run_that_holds_the_call_in_another_shape_is_found(
    operator: TestClient, make: Make, stored: dict[str, Any]
) -> None:
    make(stored=stored)
    assert operator.post("/queue-task", json=CALL).status_code == 200
    assert operator.post("/queue-task", json={**CALL, "args": [1, 3]}).status_code == 409
    assert operator.post("/queue-task", json={**CALL, "queue": "low"}).status_code == 409


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"tarefa": None},
        {"tarefa": "gone.add", "args": [1, 2]},
        {"module": "gone", "function": "add", "args": [1, 2]},
        {"module": "tools", "args": [1, 2]},
        {"module": ["tools"], "function": 5, "args": [1, 2]},
        {"tarefa": ["tools.add"], "args": [1, 2]},
        {**CONF, "args": [True, 2]},
        {**CONF, "args": {}},
        {**CONF, "more": 1},
        {**CONF, "module": "tools"},
    ],
    ids=str,
)
def test_a_run_of_another_or_of_no_call_is_not_found(
    operator: TestClient, make: Make, stored: dict[str, Any]
) -> None:
    make(stored=stored)
    assert operator.post("/queue-task", json=CALL).status_code == 409


def test_the_function_alone_is_no_name_once_two_modules_have_it(
    operator: TestClient, make: Make, folder: Path
) -> None:
    make(stored={"tarefa": "add", "args": [1, 2]})
    (folder / "more.py").write_text((folder / "tools.py").read_text())
    assert operator.post("/queue-task", json={**CALL, "tarefa": "tools.add"}).status_code == 409


def test_the_same_call_for_later_finds_its_run(operator: TestClient, make: Make) -> None:
    make(delay=timedelta(minutes=10), took=timedelta(seconds=20))
    answer = operator.post("/schedule-task", json={**CALL, "minutes": 10})
    assert answer.status_code == 200, answer.text
    after = datetime.fromisoformat(answer.json()["run_after"])
    assert after < datetime.now(UTC), "that of the run, not one of this request"


@pytest.mark.parametrize(
    "other", [{"args": [1, 3]}, {"args": [1]}, {"queue": "low"}, {"tarefa": "send", "args": ["a"]}], ids=str
)
def test_another_call_does_not(operator: TestClient, make: Make, other: dict[str, Any]) -> None:
    make()
    answer = operator.post("/queue-task", json={**CALL, **other})
    assert answer.status_code == 409
    assert "mine belongs to another call" in answer.json()["message"]


@pytest.mark.parametrize("time", [{"minutes": 9}, {"minutes": 11}, {"hours": 10}], ids=str)
def test_another_delay_does_not(operator: TestClient, make: Make, time: dict[str, int]) -> None:
    make(delay=timedelta(minutes=10))
    assert operator.post("/schedule-task", json={**CALL, **time}).status_code == 409
    assert operator.post("/queue-task", json=CALL).status_code == 409


def test_a_run_that_goes_at_this_moment_is_worth_another_try(operator: TestClient, airflow: Airflow) -> None:
    airflow.status = 409
    answer = operator.post("/queue-task", json=CALL)
    assert answer.status_code == 409
    assert "ask again" in answer.json()["message"]
