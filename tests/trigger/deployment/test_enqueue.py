"""`enqueue`: the service's refusals, its runs, and that a lost answer causes no second run."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from tests.trigger.faulty import Faulty, answer, lost, truncated
from tests.trigger.script import PATIENCE, Script, assert_refused, enqueue_refused

HELLO = "hello_world.send_hello_world"
PAYLOAD = {"name": "Ana -v", "more": [1, -5]}
TEXT = json.dumps(PAYLOAD)
PLANNED = ("--dry-run", "-o", "json")


@pytest.fixture
def made(admin):
    """A function that returns the newest runs of automations by id."""

    def ask() -> dict[str, dict[str, object]]:
        answer = admin.get("/dags/executar_tarefa/dagRuns", params={"limit": 100, "order_by": "-id"})
        assert answer.ok, answer.text
        return {run["dag_run_id"]: run for run in answer.json()["dag_runs"]}

    return ask


REFUSED = {
    "task": (("hello_world.send_helo_world",), ["send_helo_world", "did you mean", "send_hello_world"]),
    "short": (("send_helo_world",), ["did you mean", "send_hello_world"]),
    "unknown": ((HELLO, '{"nome": "Ana"}'), ["nome", "send_hello_world(name: str"]),
    "type": ((HELLO, '{"name": 5}'), ["name", "5", "send_hello_world(name: str"]),
    "surplus": ((HELLO, '["Ana", "Rui"]'), ["too many", "send_hello_world(name: str"]),
    "queue": ((HELLO, "--queue", "urgent"), ["urgent", "high", "default", "low"]),
    "delay": ((HELLO, "--delay", "100000h"), ["at most 3650 days", "100000 Hours"]),
    "run_id": ((HELLO, "--run-id", "a b"), ["run_id"]),
}


@pytest.fixture(scope="module")
def refused(automations: Script):
    """The results of refused calls."""
    return enqueue_refused(automations, REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_makes_no_sense_is_refused_in_one_line(refused, name):
    assert_refused(refused[name], REFUSED[name][1])


def test_no_refused_call_made_a_run(refused, made):
    assert [run for run in made().values() if run["note"] == "makes no sense"] == []


@pytest.fixture(scope="module")
def ended(automations: Script):
    """Runs on the worker, in parallel, waited for."""
    mark = secrets.token_hex(4)
    fast = ("--wait", "--interval", "0.5")
    return automations.together(
        good=("enqueue", HELLO, '{"name": "Ana"}', "--run-id", f"good-{mark}", *fast, "-o", "json"),
        table=("enqueue", "send_hello_world", "--queue", "high", *fast),
        bad=("enqueue", "send_email", '{"email": "nobody", "message": "Oi"}', *fast, "-o", "json"),
        not_waited_for=("enqueue", HELLO, "--note", "not waited for"),
        later=("enqueue", HELLO, "--delay", "3d", "-o", "json"),
    )


def test_the_result_is_shown_in_the_end(ended):
    done = ended["good"]
    assert done.code == 0, done.err
    run = done.json()
    assert (run["dag_id"], run["state"], run["result"]) == ("executar_tarefa", "success", "Hello, Ana!")
    assert run["run_id"].startswith("good-")
    assert [task["state"] for task in run["tasks"]] == ["success"]
    assert run["conf"] == {"tarefa": HELLO, "args": [], "kwargs": {"name": "Ana"}, "queue": "default"}
    done = ended["table"]
    assert done.code == 0, done.err
    assert 'result  "Hello, world!"' in done.out
    assert '"queue": "high"' in done.out


def test_a_failure_shows_the_log_and_is_exit_code_1(ended):
    done = ended["bad"]
    assert done.code == 1, done.err
    run = done.json()
    assert run["state"] == "failed"
    assert "result" not in run
    assert "the end of its log" in done.err
    assert "'nobody' is not an address" in done.err


def test_without_waiting_the_run_is_shown_with_its_page(ended, deployment):
    done = ended["not_waited_for"]
    assert (done.code, done.err) == (0, "")
    assert f"{deployment.settings.url}/dags/executar_tarefa/runs/{HELLO}__20" in done.out
    assert "not waited for" in done.out


def test_a_delayed_run_waits_in_airflow(ended, admin):
    run_id = ended["later"].json()["run_id"]
    run = admin.get(f"/dags/executar_tarefa/dagRuns/{run_id}").json()
    assert run["state"] == "queued"
    wait = datetime.fromisoformat(run["run_after"]) - datetime.now(UTC)
    assert timedelta(days=2, hours=23) < wait <= timedelta(days=3)


def test_asked_twice_with_one_id_there_is_one_run(ended, automations):
    run = ended["good"].json()
    call = ("enqueue", HELLO, "--run-id", run["run_id"], "-o", "json")
    done = automations.each(same=(*call, '{"name": "Ana"}', "--wait"), other=(*call, '{"name": "Rui"}'))
    assert done["same"].code == 0, done["same"].err
    assert (done["same"].json()["start_date"], done["same"].json()["result"]) == (
        run["start_date"],
        "Hello, Ana!",
    )
    assert done["other"].code == 2
    assert run["run_id"] in done["other"].err


def test_the_flags_for_dags_find_its_run_too(ended, automations):
    run = ended["good"].json()
    call = ("--dag-id", "executar_tarefa", "--set", "tarefa=send_hello_world", "--run-id", run["run_id"])
    done = automations.together(
        same=(*call, "--set", 'kwargs={"name": "Ana"}', "-o", "json"),
        other=(*call, "--set", 'kwargs={"name": "Rui"}'),
    )
    assert done["same"].code == 0, done["same"].err
    assert done["same"].json()["start_date"] == run["start_date"]
    assert done["other"].code == 2
    assert "exists already" in done["other"].err
    assert "with another conf" in done["other"].err


def test_the_run_can_be_watched_by_its_flags_too(ended, automations):
    done = automations("--dag-id", "executar_tarefa", "--watch", ended["good"].json()["run_id"], "-o", "json")
    assert done.code == 0, done.err
    assert done.json()["result"] == "Hello, Ana!"


def test_a_result_that_cant_be_read_is_no_failure(ended, automations, faulty):
    faulty.breaks("GET", "/xcomEntries/", answer(403, '{"detail": "Forbidden"}'))
    through = automations.having(AIRFLOW_API_URL=faulty.url)
    done = through("--dag-id", "executar_tarefa", "--watch", ended["good"].json()["run_id"], "-o", "json")
    assert done.code == 0, done.err
    assert "result" not in done.json()
    assert "warning: its result can't be read: " in done.err


@pytest.fixture
def through(automations: Script, faulty: Faulty) -> Script:
    """The script, through the proxy with faults."""
    return automations.having(AIRFLOW_API_URL=faulty.url)


@pytest.mark.parametrize(
    ("faults", "delay"),
    [([lost], ()), ([truncated], ()), ([lost, answer(503), lost], ()), ([lost], ("--delay", "5d"))],
    ids=["lost", "half", "often", "delayed"],
)
def test_a_lost_answer_makes_no_second_run(through, faulty, made, faults, delay):
    note = secrets.token_hex(8)
    faulty.breaks("POST", "/scheduler/", *faults)
    done = through("enqueue", HELLO, "--note", note, *delay, "--connect-timeout", "15", "-o", "json")
    assert done.code == 0, done.err
    asked = faulty.asked("POST", "/scheduler/")
    assert len(asked) == len(faults) + 1
    assert len({one.body for one in asked}) == 1
    assert [name for name, run in made().items() if run["note"] == note] == [done.json()["run_id"]]


def test_a_run_that_nobody_confirmed_is_named(through, faulty, made):
    run_id = f"unconfirmed-{secrets.token_hex(4)}"
    faulty.always_breaks("POST", "/scheduler/queue-task", lost)
    done = through("enqueue", HELLO, "--run-id", run_id, "--connect-timeout", "1")
    assert done.code == 5
    assert f"--dag-id executar_tarefa --watch {run_id}" in done.err
    assert run_id in made()


def test_who_may_not_and_who_is_nobody(automations, viewer, made):
    other = automations.having(AIRFLOW_USERNAME=viewer.name, AIRFLOW_PASSWORD=viewer.password)
    nobody = automations.having(AIRFLOW_USERNAME=None, AIRFLOW_PASSWORD=None)
    note = secrets.token_hex(8)
    for script, said in ((other, viewer.name), (nobody, "--username")):
        done = script("enqueue", HELLO, "--note", note)
        assert (done.code, done.out) == (4, "")
        assert said in done.err
    assert [run for run in made().values() if run["note"] == note] == []


def test_where_runs_would_wait_for_ever_it_says_so(automations, admin):
    admin.patch("/dags/executar_tarefa", json={"is_paused": True}).raise_for_status()
    done = automations("enqueue", HELLO)
    assert done.code == 2
    assert "executar_tarefa is paused" in done.err
    assert "--unpause" in done.err
    done = automations("enqueue", HELLO, "--unpause", "--wait", "--interval", "0.5", "--timeout", PATIENCE)
    assert done.code == 0, done.err
    assert "executar_tarefa is unpaused" in done.err
