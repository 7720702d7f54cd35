"""Waiting for runs: until success, until failure, until a timeout, and while the API server is down."""

from __future__ import annotations

import json
import re

import pytest
from rich.cells import cell_len

from local.waiting import until
from tests.trigger.deployment.test_recorded import differing
from tests.trigger.recorded import RUNS
from tests.trigger.script import PATIENCE, Script

TASK_KEYS = {"task_id", "map_index", "state", "try_number", "start_date", "end_date", "duration"}


@pytest.fixture(scope="module")
def ended(script: Script):
    """Runs on the worker, in parallel, with different options for the wait."""
    return script.together(
        failing=("--dag-id", "failing", "--run-id", "fails", "--wait", "--interval", "0.5", "-o", "json"),
        retrying=(
            "--dag-id",
            "retrying",
            "--run-id",
            "stumbles",
            "--logs",
            "--interval",
            "0.5",
            "-o",
            "json",
        ),
        quick=("--dag-id", "quick", "--run-id", "waited-for", "--wait"),
    )


def test_a_good_run_is_shown_with_its_tasks(ended):
    assert ended["quick"].code == 0, ended["quick"].err
    assert re.search(r"state +success", ended["quick"].out)
    assert re.search(r"nothing +success", ended["quick"].out)
    assert "waited-for" in ended["quick"].err


def test_a_failed_run_is_exit_code_1_with_the_end_of_its_tasks_logs(ended):
    done = ended["failing"]
    assert done.code == 1, done.err
    run = done.json()
    assert (run["run_id"], run["state"]) == ("fails", "failed")
    assert all(set(task) == TASK_KEYS for task in run["tasks"])
    states = {(task["task_id"], task["map_index"]): task["state"] for task in run["tasks"]}
    assert states == {("count", 0): "success", ("count", 1): "success", ("count", 2): "failed"}
    assert all(task["try_number"] == 1 and task["duration"] > 0 for task in run["tasks"])
    assert "count[2] failed" in done.err
    assert "line 40 of shelf c" in done.err
    assert "line 1 of shelf c" not in done.err
    assert "ValueError: shelf c holds nothing to count" in done.err
    assert "of shelf a" not in done.err


def test_its_answers_are_those_that_are_recorded(ended, admin):
    path = "/dags/failing/dagRuns/fails"
    tasks = admin.get(f"{path}/taskInstances", params={"order_by": "id"}).json()["task_instances"]
    log = admin.get(f"{path}/taskInstances/count/logs/1", params={"map_index": 2, "full_content": True})
    kept = RUNS["failing"]
    assert differing(admin.get(path).json(), kept["run"]) == []
    assert differing(tasks, kept["tasks"]) == []
    assert differing(log.json(), kept["log"]) == []


def test_a_retry_shows_and_its_log_is_followed(ended):
    done = ended["retrying"]
    assert done.code == 0, done.err
    [task] = done.json()["tasks"]
    assert (task["state"], task["try_number"]) == ("success", 2)
    followed = [line for line in done.err.splitlines() if line.startswith("stumble | ")]
    assert len([line for line in followed if "RuntimeError: not at the first try" in line]) == 1
    assert re.search(r"stumble success \(try 2, ", done.err)


def test_a_run_that_takes_too_long_is_exit_code_6_and_goes_on(script, admin):
    done = script.each(
        delayed=(
            *("--dag-id", "quick", "--run-id", "late", "--delay", "1h"),
            *("--wait", "--timeout", "1s", "--interval", "0.2"),
        ),
        deferred=(
            *("--dag-id", "deferred", "--run-id", "never", "--wait", "--timeout", "1.5", "--interval", "0.5"),
        ),
    )
    assert [one.code for one in done.values()] == [6, 6]
    assert [one.out for one in done.values()] == ["", ""]
    assert "still queued after 1 s" in done["delayed"].err
    assert "--watch late" in done["delayed"].err
    assert admin.get("/dags/quick/dagRuns/late").json()["state"] == "queued"

    path = "/dags/deferred/dagRuns/never"

    def is_deferred() -> bool:
        return admin.get(f"{path}/taskInstances/defer").json()["state"] == "deferred"

    until(is_deferred, PATIENCE, "its deferral", pause=0.2)
    later = script("--dag-id", "deferred", "--watch", "never", "--timeout", "1", "--interval", "0.2")
    assert later.code == 6
    assert "defer deferred" in later.err
    assert "still running after 1 s" in later.err
    assert admin.patch(path, json={"state": "failed"}).status_code == 200
    ended = script("--dag-id", "deferred", "--watch", "never", "-o", "plain")
    assert ended.code == 1
    assert ended.out.split("\t")[:2] == ["never", "failed"]
    assert "no task failed" in ended.err or "defer failed" in ended.err


def test_ctrl_c_leaves_the_run_and_a_new_watch_outlives_its_api_server(script, simple, admin, tmp_path):
    gate = tmp_path / "gate"
    waiting = script.start(
        *("--dag-id", "at_gate", "--run-id", "held", "--set", f"gate={gate}"),
        *("--logs", "--interval", "0.3"),
    )
    # The log is followed while the run is in progress: the gate is still closed.
    waiting.expect("the gate is closed")
    waiting.interrupt()
    left = waiting.finish()
    assert left.code == 130
    assert left.out == ""
    assert "--dag-id at_gate --watch held" in left.err
    assert "interrupted" in left.err
    assert admin.get("/dags/at_gate/dagRuns/held").json()["state"] == "running"

    ana = script.having(
        AIRFLOW_API_URL=simple.url, AIRFLOW_USERNAME=simple.admin.name, AIRFLOW_PASSWORD=simple.admin.password
    )
    watching = ana.start(
        *("--dag-id", "at_gate", "--watch", "held", "--logs", "--interval", "0.3", "--connect-timeout", "1"),
        *("-o", "json"),
    )
    watching.expect("the gate is closed")
    simple.kill()
    watching.expect("warning: ")
    simple.start()
    watching.expect("the API is back")
    gate.touch()
    done = watching.finish()
    assert done.code == 0, done.err
    assert "the gate is open" in done.err
    assert done.json()["state"] == "success"


def test_progress_fits_a_narrow_terminal_and_leaves_standard_output_alone(script, tmp_path):
    gate = tmp_path / "gate"
    asked = (
        "--dag-id",
        "at_gate",
        "--set",
        f"gate={gate}",
        "--set",
        "fail=true",
        "--wait",
        "--interval",
        "0.3",
    )
    with script.terminal(*asked, "--run-id", "seen", "-o", "json", columns=60, piped=True) as terminal:
        terminal.expect("wait_for_gate")
        terminal.expect("running")
        gate.touch()
        terminal.expect("behind the gate is a wall")
        written = terminal.piped()
        assert terminal.finish() == 1
    assert json.loads(written)["state"] == "failed"
    assert "\x1b[" in terminal.raw
    shown = [
        line for line in terminal.lines if line.lstrip().startswith(("at_gate", "task ", "wait_for_gate "))
    ]
    assert len(shown) > 3
    assert max(map(cell_len, shown)) <= 60
    assert "\x1b" not in written
