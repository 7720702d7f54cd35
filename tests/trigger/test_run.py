"""Trigger or watch one run: requests refused before they are sent, the sent requests, and the output on a terminal."""

from __future__ import annotations

import re

import pytest
from rich.cells import cell_len

from tests.trigger.script import Script

START, END = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
REFUSED = {
    "conf_inicio": (
        ("--inicio", START, "--fim", END, "--set", "inicio=2026-01-01T00:00:01Z"),
        ["inicio", "2026-01-01T00:00:01"],
    ),
    "conf_fim": (
        ("--inicio", START, "--fim", END, "--set", "fim=2026-01-03T00:00:00Z"),
        ["fim", "2026-01-03"],
    ),
    "one_side": (("--inicio", START), ["--inicio", "--fim"]),
    "other_side": (("--fim", END), ["--inicio", "--fim"]),
    "empty": (("--inicio", START, "--fim", START), ["fim", START]),
    "turned": (("--inicio", END, "--fim", START), [START, END]),
    "no_zone": (("--inicio", "2026-01-01T00:00:00", "--fim", END), ["2026-01-01T00:00:00", "zone"]),
    "no_date": (("--inicio", "2026-02-30T00:00:00Z", "--fim", END), ["2026-02-30T00:00:00Z"]),
    "no_duration": (("--delay", "soon"), ["soon", "2h10m20s"]),
    "two_times": (("--delay", "1h", "--run-after", END), ["--delay", "--run-after"]),
}


@pytest.fixture(scope="module")
def refused(script: Script):
    """The results of refused requests."""
    return script.each(
        **{
            name: ("--dag-id", "ranged", "--run-id", f"no_{name}", *given)
            for name, (given, _) in REFUSED.items()
        }
    )


@pytest.mark.parametrize("name", REFUSED)
def test_bounds_and_times_that_make_no_sense_are_refused(refused, name):
    assert refused[name].code == 2, refused[name].err
    [line] = refused[name].err.splitlines()
    assert line.startswith("error: ")
    assert [part for part in REFUSED[name][1] if part not in line] == []


def test_what_was_refused_made_no_run(refused, run_ids):
    assert not [run_id for run_id in run_ids("ranged") if run_id.startswith("no_")]


def test_on_a_terminal_a_paused_dag_is_a_question(script, airflow, run_ids):
    with script.terminal("--dag-id", "paused_too") as terminal:
        terminal.expect("paused_too is paused")
        terminal.expect("[y/N]")
        terminal.type("n")
        assert terminal.finish() == 2
    assert run_ids("paused_too") == set()
    with script.terminal("--dag-id", "paused_too", "--run-id", "asked") as terminal:
        terminal.expect("[y/N]")
        terminal.type("y")
        assert terminal.finish() == 0
    assert run_ids("paused_too") == {"asked"}
    assert airflow.dags["paused_too"]["is_paused"] is False


def test_an_unknown_dag_is_not_found_and_its_neighbour_is_suggested(script):
    done = script.each(near=("--dag-id", "quik"), far=("--dag-id", "xyzzy", "--dry-run"))
    assert [one.code for one in done.values()] == [3, 3]
    assert "'quik'" in done["near"].err
    assert "did you mean 'quick'?" in done["near"].err
    assert "did you mean" not in done["far"].err
    assert "broken.py" in done["far"].err
    assert done["far"].out == ""


def test_mapped_tasks_are_counted(script):
    again = script("--dag-id", "failing", "--watch", "fails")
    assert again.code == 1
    assert re.search(r"count +3/3 1 failed 2 success", again.out), again.out


def test_a_result_fits_a_narrow_terminal(script):
    with script.terminal("--dag-id", "failing", "--watch", "fails", columns=60) as terminal:
        assert terminal.finish() == 1
    result = terminal.text[terminal.text.rindex("state ") :].splitlines()
    assert any("3/3 1 failed 2 success" in line for line in result)
    assert max(cell_len(line.rstrip()) for line in result) <= 60


def test_a_run_to_watch_that_is_not_there_is_not_found(script):
    done = script.each(
        run=("--dag-id", "quick", "--watch", "nowhere"),
        dag=("--dag-id", "quik", "--watch", "nowhere"),
    )
    assert [one.code for one in done.values()] == [3, 3]
    assert "nowhere" in done["run"].err
    assert all(len(one.err.splitlines()) == 1 for one in done.values())


def test_a_duration_that_is_none_is_refused_before_a_run_is_made(script, run_ids):
    before = run_ids("quick")
    done = script("--dag-id", "quick", "--wait", "--timeout", "soon")
    assert done.code == 2
    assert "'soon'" in done.err
    assert run_ids("quick") == before
