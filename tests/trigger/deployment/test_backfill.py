"""Backfills: planned, started, waited for, and run over intervals that have run before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.trigger.faulty import lost
from tests.trigger.script import Done, Script

DAYS = [f"2025-01-{day:02}" for day in (1, 2, 3)]
RANGE = ("--inicio", "2025-01-01T00:00:00Z", "--fim", "2025-01-04T00:00:00Z")
ASKED = ("--dag-id", "daily", "--backfill", *RANGE)
KEYS = {"id", "dag_id", "from_date", "to_date", "reprocess", "runs", "state"}


def day(number: int) -> tuple[str, ...]:
    return ("--inicio", f"2025-01-{number:02}T00:00:00Z", "--fim", f"2025-01-{number + 1:02}T00:00:00Z")


def days(done: Done) -> list[str]:
    return [run["logical_date"][:10] for run in done.json()["runs"]]


@pytest.fixture(scope="module")
def backfills(admin):
    """A function that returns a DAG's backfills."""

    def ask(dag_id: str) -> dict[int, dict[str, Any]]:
        answer = admin.get("/backfills", params={"dag_id": dag_id, "order_by": "-id"}).json()
        return {entry["id"]: entry for entry in answer["backfills"]}

    return ask


@pytest.fixture(scope="module")
def before(script: Script, admin, backfills):
    """The results of calls that create no backfill, and the number of backfills after them."""
    counts = len(backfills("daily"))
    done = script.each(
        dry=(*ASKED, "--dry-run", "-o", "json"),
        plain=(*ASKED, "--dry-run", "-o", "plain"),
        # Without a terminal, nobody can answer the question.
        unasked=ASKED,
    )
    with script.terminal(*ASKED) as terminal:
        terminal.expect("3 run(s) of daily")
        terminal.expect("[y/N]")
        terminal.type("n")
        assert terminal.finish() == 2
    return done, len(backfills("daily")) - counts


@pytest.fixture(scope="module")
def after(script: Script, admin, before):
    """Two backfills at once, waited for. The second one finds a failed day and a successful one."""
    asked = ("--yes", "--wait", "--interval", "0.5", "-o", "json")
    ran = script.together(
        good=("--dag-id", "nightly", *day(1), "--run-id", "good", "--wait", "--interval", "0.2"),
        bad=("--dag-id", "nightly", *day(2), "--run-id", "bad", "--wait", "--interval", "0.2"),
    )
    assert [one.code for one in ran.values()] == [0, 0]
    assert admin.patch("/dags/nightly/dagRuns/bad", json={"state": "failed"}).status_code == 200
    return script.together(
        daily=(*ASKED, "--max-active-runs", "2", *asked),
        nightly=(
            *("--dag-id", "nightly", "--backfill", *RANGE, "--reprocess", "failed", "--run-backwards"),
            *asked,
        ),
    )


def test_a_backfill_is_shown_before_it_exists(before):
    done, made = before
    plan = done["dry"].json()
    assert set(plan) == KEYS
    assert (plan["id"], plan["dag_id"], plan["reprocess"]) == (None, "daily", "none")
    assert days(done["dry"]) == DAYS
    assert [line.split("\t")[0][:10] for line in done["plain"].out.splitlines()] == DAYS
    assert made == 0


def test_without_a_terminal_a_backfill_needs_a_yes(before):
    done, _ = before
    assert done["unasked"].code == 2
    assert "--yes" in done["unasked"].err


def test_a_backfill_runs_each_interval(after, admin, backfills):
    done = after["daily"]
    assert done.code == 0, done.err
    result = done.json()
    assert set(result) == KEYS
    assert (result["dag_id"], result["reprocess"], result["state"]) == ("daily", "none", "success")
    assert days(done) == DAYS
    assert {run["state"] for run in result["runs"]} == {"success"}
    assert "3/3 runs" in done.err
    assert backfills("daily")[result["id"]]["max_active_runs"] == 2
    first = admin.get(f"/dags/daily/dagRuns/{result['runs'][0]['run_id']}").json()
    assert datetime.fromisoformat(first["data_interval_start"]) == datetime(2025, 1, 1, tzinfo=UTC)
    assert datetime.fromisoformat(first["data_interval_end"]) == datetime(2025, 1, 2, tzinfo=UTC)


def test_what_failed_runs_again_and_what_was_well_does_not(after, admin):
    done = after["nightly"]
    assert done.code == 0, done.err
    assert done.json()["reprocess"] == "failed"
    assert days(done) == DAYS[1:]
    bad, good = (admin.get(f"/dags/nightly/dagRuns/{run_id}").json() for run_id in ("bad", "good"))
    assert bad["state"] == good["state"] == "success"
    assert (bad["run_type"], good["run_type"]) == ("backfill", "manual")


def test_what_has_run_is_planned_again_only_where_it_shall_be(after, script, backfills):
    count = len(backfills("daily"))
    planned = script.each(
        none=(*ASKED, "--dry-run", "-o", "json"),
        failed=(*ASKED, "--reprocess", "failed", "--dry-run", "-o", "json"),
        completed=(*ASKED, "--reprocess", "completed", "--dry-run", "-o", "json"),
        nothing=(*ASKED, "--yes", "--wait", "-o", "json"),
        wider=(
            *("--dag-id", "daily", "--backfill", "--inicio", "2025-01-03T00:00:00Z"),
            *("--fim", "2025-01-06T00:00:00Z", "--dry-run", "-o", "json"),
        ),
    )
    assert {name: days(one) for name, one in planned.items()} == {
        "none": [],
        "failed": [],
        "completed": DAYS,
        "nothing": [],
        "wider": ["2025-01-04", "2025-01-05"],
    }
    assert len(backfills("daily")) == count


def test_a_backfill_with_a_failed_run_is_exit_code_1(after, script, admin):
    result = after["daily"].json()
    run_id = result["runs"][1]["run_id"]
    assert admin.patch(f"/dags/daily/dagRuns/{run_id}", json={"state": "failed"}).status_code == 200
    watched = script("--dag-id", "daily", "--backfill", "--watch", str(result["id"]), "-o", "json")
    assert watched.code == 1
    assert watched.json()["state"] == "failed"


REFUSED = {
    "no_bounds": (("--dag-id", "daily", "--backfill", "--yes"), 2, "--inicio"),
    "no_schedule": (("--dag-id", "quick", "--backfill", *RANGE, "--yes"), 2, "quick"),
    "paused": (("--dag-id", "many_000", "--backfill", *RANGE, "--yes"), 2, "paused"),
    "unknown_dag": (("--dag-id", "dayly", "--backfill", *RANGE, "--yes"), 3, "did you mean 'daily'?"),
    "unknown_backfill": (("--dag-id", "daily", "--backfill", "--watch", "99999"), 3, "99999"),
    "not_a_number": (("--dag-id", "daily", "--backfill", "--watch", "first"), 2, "'first'"),
    "no_behaviour": ((*ASKED, "--reprocess", "all"), 2, "none"),
    "unknown_conf": ((*ASKED, "--set", "a=1", "--yes"), 2, "'a'"),
}


@pytest.fixture(scope="module")
def refused(script: Script):
    """The results of refused backfills."""
    return script.each(**{name: arguments for name, (arguments, _, _) in REFUSED.items()})


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_backfill_is_refused(refused, name):
    _, code, said = REFUSED[name]
    assert refused[name].code == code, refused[name].err
    assert said in refused[name].err.splitlines()[-1]
    assert refused[name].out == ""


def test_one_backfill_of_a_dag_at_a_time(after, script, admin):
    body = {
        "dag_id": "daily",
        "from_date": "2025-02-01T00:00:00Z",
        "to_date": "2025-02-05T00:00:00Z",
        "max_active_runs": 1,
    }
    # Its runs are serial, so it can't end before it is paused.
    other = admin.post("/backfills", json=body).json()["id"]
    assert admin.put(f"/backfills/{other}/pause").status_code == 200
    done = script(
        "--dag-id",
        "daily",
        "--backfill",
        "--inicio",
        "2025-03-01T00:00:00Z",
        *("--fim", "2025-03-02T00:00:00Z"),
        "--yes",
    )
    assert done.code == 2
    assert "one at a time" in done.err or "active" in done.err
    watched = script(
        "--dag-id", "daily", "--backfill", "--watch", str(other), "--timeout", "1", "--interval", "0.2"
    )
    assert admin.put(f"/backfills/{other}/cancel").status_code == 200
    assert watched.code == 6
    assert f"--backfill --watch {other}" in watched.err
    assert (
        admin.get(
            "/dags/daily/dagRuns", params={"logical_date_gte": "2025-03-01T00:00:00Z", "run_type": "backfill"}
        ).json()["total_entries"]
        == 0
    )


def test_a_lost_answer_makes_no_second_backfill(after, script, faulty, admin):
    asked = (
        "--dag-id",
        "nightly",
        "--backfill",
        "--inicio",
        "2025-03-10T00:00:00Z",
        "--fim",
        "2025-03-11T00:00:00Z",
    )
    for backfill in admin.get("/backfills", params={"dag_id": "nightly"}).json()["backfills"]:
        if backfill["completed_at"] is None:
            admin.put(f"/backfills/{backfill['id']}/cancel")
    faulty.breaks("POST", "/backfills$", lost)
    done = script.having(AIRFLOW_API_URL=faulty.url)(*asked, "--yes", "-o", "json")
    assert done.code == 0, done.err
    runs = admin.get(
        "/dags/nightly/dagRuns", params={"logical_date_gte": "2025-03-10T00:00:00Z", "run_type": "backfill"}
    )
    assert runs.json()["total_entries"] == 1
    assert len(faulty.asked("POST", "/backfills$")) == 1
