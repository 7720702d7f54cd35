"""`jobs`: add, list, pause, resume and remove, and the errors for wrong jobs."""

from __future__ import annotations

import secrets

import pytest

from tests.trigger.faulty import Faulty, lost
from tests.trigger.script import Script

HELLO = "hello_world.send_hello_world"
# Almost never due, so not during a test.
NEVER = ("--cron", "0 0 29 2 *")
FIELDS = {
    *("name", "task", "args", "kwargs", "cron", "timezone", "queue", "enabled", "missed"),
    *("next_run_at", "last_run_at", "last_state", "last_error"),
    *("outcome", "outcome_run_at", "outcome_at", "outcome_reason", "created_by", "changed_by"),
}


@pytest.fixture
def name(automations):
    """A unique name of a job, which is removed at the end."""
    name = f"cli-{secrets.token_hex(4)}"
    yield name
    automations("jobs", "remove", name)


def names(script: Script) -> set[str]:
    return {job["name"] for job in script("jobs", "list", "-o", "json").json()}


def test_a_job_from_its_making_to_its_end(automations, name):
    done = automations(
        *("jobs", "add", name, "send_hello_world", '{"name":', '"Ana"}', *NEVER, "--queue", "low"),
        *("--timezone", "America/Sao_Paulo", "--missed", "skip", "-o", "json"),
    )
    assert done.code == 0, done.err
    [job] = done.json()
    assert set(job) == FIELDS
    assert (job["task"], job["args"], job["kwargs"]) == (HELLO, [], {"name": "Ana"})
    assert (job["timezone"], job["queue"], job["missed"], job["enabled"]) == (
        *("America/Sao_Paulo", "low", "skip"),
        True,
    )
    # Midnight in the job's time zone.
    assert "02-29T03:00:00" in job["next_run_at"]

    done = automations("jobs", "pause", name, "-o", "plain")
    assert (done.code, done.out.split("\t")[:2]) == (0, [name, "paused"])
    done = automations("jobs", "resume", name, "-o", "plain")
    assert (done.code, done.out.split("\t")[:2]) == (0, [name, "active"])
    done = automations("jobs", "list")
    assert done.code == 0, done.err
    [line] = [line for line in done.out.splitlines() if line.startswith(name)]
    assert "0 0 29 2 * America/Sao_Paulo" in line
    assert HELLO in line
    done = automations("jobs", "remove", name)
    assert done.code == 0, done.err
    assert name in done.out
    assert name not in names(automations)


def test_a_lost_answer_and_the_same_job_again(automations, faulty: Faulty, name):
    through = automations.having(AIRFLOW_API_URL=faulty.url)
    faulty.breaks("POST", "/scheduler/jobs$", lost)
    faulty.breaks("DELETE", "/scheduler/jobs/", lost)
    plain = ("jobs", "add", name, HELLO, *NEVER, "--paused", "-o", "json")
    call = (*plain, "--missed", "all")
    done = through(*call)
    assert done.code == 0, done.err
    assert len(faulty.asked("POST", "/scheduler/jobs$")) == 2
    assert [job["enabled"] for job in done.json()] == [False]
    again = {
        "same": automations(*call),
        "other": automations(*call, "--queue", "high"),
        # A missing option means the default, not the existing job's value.
        "left out": automations(*plain),
    }
    assert again["same"].json() == done.json()
    assert again["other"].code == 2
    assert "with another queue" in again["other"].err
    assert again["left out"].code == 2
    assert "with another missed" in again["left out"].err
    done = through("jobs", "remove", name)
    assert done.code == 0, done.err
    assert len(faulty.asked("DELETE", "/scheduler/jobs/")) == 2
    assert name not in names(automations)


REFUSED = {
    "cron": (("add", "n", HELLO, "--cron", "* * *"), 2, ["cron", "* * *"]),
    "zone": (("add", "n", HELLO, *NEVER, "--timezone", "Sao_Paulo"), 2, ["Sao_Paulo"]),
    "task": (("add", "n", "hello_world.send_helo_world", *NEVER), 2, ["did you mean"]),
    "arguments": (("add", "n", HELLO, '{"nome": 1}', *NEVER), 2, ["nome", "send_hello_world(name: str"]),
    "queue": (("add", "n", HELLO, *NEVER, "--queue", "urgent"), 2, ["urgent"]),
    "name": (("add", "a b", HELLO, *NEVER), 2, ["name"]),
    "missed": (("add", "n", HELLO, *NEVER, "--missed", "never"), 2, ["once", "jobs add --help"]),
    "no_cron": (("add", "n", HELLO), 2, ["--cron", "jobs add --help"]),
    "payload": (("add", "n", HELLO, "{nome: 1}", *NEVER), 2, ["take the quotes away"]),
    "pause": (("pause", "nowhere"), 3, ["'nowhere'", "jobs list"]),
    "remove": (("remove", "nowhere"), 3, ["'nowhere'"]),
    "no_name": (("resume",), 2, ["NAME", "jobs resume --help"]),
    "command": (("ad", "n"), 2, ["'ad'", "did you mean 'add'"]),
    "nothing": ((), 2, ["jobs --help"]),
}


@pytest.fixture(scope="module")
def refused(automations: Script):
    """The results of invalid calls."""
    return {name: automations("jobs", *call) for name, (call, _, _) in REFUSED.items()}


@pytest.mark.parametrize("case", REFUSED)
def test_a_job_that_makes_no_sense_is_refused_in_one_line(refused, case):
    _, code, said = REFUSED[case]
    done = refused[case]
    assert (done.code, done.out) == (code, ""), done.err
    [line] = done.err.splitlines()
    assert line.startswith("error: ")
    assert [part for part in said if part not in line] == []


def test_no_refused_job_is_there(refused, automations):
    assert names(automations) & {"n", "a b"} == set()


def test_a_near_name_is_suggested_and_a_viewer_may_only_look(automations, viewer, name):
    other = automations.having(AIRFLOW_USERNAME=viewer.name, AIRFLOW_PASSWORD=viewer.password)
    assert automations("jobs", "add", name, HELLO, *NEVER, "--paused").code == 0
    # If one of the names is wrong, no job is changed.
    done = automations("jobs", "remove", name, name[:-1])
    assert (done.code, done.out) == (3, "")
    assert f"did you mean {name!r}" in done.err
    assert name in names(other)
    assert other("jobs", "remove", name).code == 4
    assert name in names(automations)
