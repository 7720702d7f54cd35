"""`jobs add` while the DAGs that run jobs are paused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.trigger.faulty import Faulty, answer
from tests.trigger.recorded import Airflow
from tests.trigger.script import Done, Script

FIELDS = {
    **{"name": "greet", "task": "hello_world.send_hello_world", "args": [], "kwargs": {}, "queue": "default"},
    **{"cron": "0 8 * * *", "timezone": "UTC", "missed": "once", "enabled": True},
    **dict.fromkeys(("next_run_at", "last_run_at", "last_state", "last_error")),
    **dict.fromkeys(("created_by", "changed_by")),
    **dict.fromkeys(("outcome", "outcome_run_at", "outcome_at", "outcome_reason")),
}
DAGS = ("agendar_jobs", "executar_tarefa")


@pytest.fixture
def add(script: Script, faulty: Faulty, airflow: Airflow) -> Iterator[Callable[..., Done]]:
    """A function that adds a job; the service accepts it, and one of the DAGs is paused."""

    def call(*options: str, paused: str | None) -> Done:
        for dag_id in DAGS:
            airflow.dags[dag_id] = {**airflow.dags["quick"], "dag_id": dag_id, "is_paused": dag_id == paused}
        faulty.breaks("POST", "/scheduler/jobs$", answer(201, json.dumps(FIELDS)))
        command = (
            "jobs",
            "add",
            "greet",
            "hello_world.send_hello_world",
            "--cron",
            "0 8 * * *",
            "-o",
            "plain",
        )
        return script.having(AIRFLOW_API_URL=faulty.url)(*command, *options)

    yield call
    for dag_id in DAGS:
        airflow.dags.pop(dag_id, None)


@pytest.mark.parametrize("paused", DAGS)
def test_a_paused_dag_is_named_with_what_to_do(add, airflow: Airflow, paused: str) -> None:
    done = add(paused=paused)
    assert (done.code, done.out.split("\t")[0]) == (0, "greet")
    assert done.err == f"warning: {paused} is paused, so no job runs: repeat this command with --unpause\n"
    assert airflow.dags[paused]["is_paused"]


@pytest.mark.parametrize("paused", DAGS)
def test_unpause_lets_it_run(add, airflow: Airflow, paused: str) -> None:
    done = add("--unpause", paused=paused)
    assert (done.code, done.err) == (0, f"{paused} is unpaused\n")
    assert [airflow.dags[dag_id]["is_paused"] for dag_id in DAGS] == [False, False]


def test_dags_that_run_need_no_word(add) -> None:
    done = add(paused=None)
    assert (done.code, done.err) == (0, "")
