"""`clean-queue`: the runs that it removes, and its protection against accidents."""

from __future__ import annotations

import secrets

import pytest

from tests.trigger.faulty import Faulty, lost


@pytest.fixture
def waiting(automations, admin):
    """Two runs on `low` and one on `default`, which wait for a later start. A function returns those that still exist."""
    mark = secrets.token_hex(4)
    names = {f"{queue}-{number}-{mark}": queue for queue, number in (("low", 1), ("low", 2), ("default", 1))}
    done = {
        name: automations(
            *("enqueue", "send_hello_world", "--queue", queue, "--delay", "9d", "--run-id", name)
        )
        for name, queue in names.items()
    }
    assert {name: one.err for name, one in done.items() if one.code != 0} == {}

    def left() -> list[str]:
        found = [
            name for name in names if admin.get(f"/dags/executar_tarefa/dagRuns/{name}").status_code == 200
        ]
        return sorted(name.removesuffix(f"-{mark}") for name in found)

    return left


def test_without_a_terminal_it_wants_a_yes(waiting, automations):
    done = automations("clean-queue", "--scheduled")
    assert (done.code, done.out) == (2, "")
    assert "--yes" in done.err
    assert waiting() == ["default-1", "low-1", "low-2"]


def test_a_queue_a_refusal_and_a_yes_at_the_terminal(waiting, automations):
    done = automations("clean-queue", "--queue", "low", "--scheduled", "--yes", "-o", "json")
    assert done.code == 0, done.err
    assert (done.json()["queue"], done.json()["scheduled"]) == ("low", True)
    assert done.json()["removed"] >= 2
    assert waiting() == ["default-1"]

    for typed, code, left in (("n", 2, ["default-1"]), ("y", 0, [])):
        with automations.terminal("clean-queue", "--scheduled", columns=100) as terminal:
            terminal.expect("Remove the runs that wait on all queues, and for their time? [y/N]")
            terminal.type(typed)
            assert terminal.finish() == code
            assert ("nothing was removed" if code else "removed ") in terminal.text
        assert waiting() == left


def test_what_waits_for_its_time_stays_unless_it_is_named(waiting, automations, faulty: Faulty):
    # After a lost answer, the request is repeated, which removes no more runs.
    faulty.breaks("DELETE", "/scheduler/clean-queue", lost)
    done = automations.having(AIRFLOW_API_URL=faulty.url)("clean-queue", "--yes", "-o", "plain")
    assert (done.code, done.err) == (0, "")
    assert done.out.strip().isdecimal()
    assert len(faulty.asked("DELETE", "/scheduler/clean-queue$")) == 2
    assert waiting() == ["default-1", "low-1", "low-2"]


def test_a_queue_that_is_not_there_and_who_may_not(automations, viewer):
    other = automations.having(AIRFLOW_USERNAME=viewer.name, AIRFLOW_PASSWORD=viewer.password)
    done = {
        "queue": automations("clean-queue", "--queue", "lo", "--yes"),
        "viewer": other("clean-queue", "--yes"),
    }
    assert (done["queue"].code, done["viewer"].code) == (2, 4)
    assert '"lo"' in done["queue"].err
    assert viewer.name in done["viewer"].err
