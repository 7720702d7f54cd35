"""Trigger one run: its fields, refused requests, and that a repeated request creates no second run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.waiting import until
from tests.trigger.script import PATIENCE, Script

START, END = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
RUN_KEYS = {
    *("dag_id", "run_id", "state", "url", "logical_date", "data_interval_start", "data_interval_end"),
    *("run_after", "start_date", "end_date", "conf", "note", "triggered_by"),
}


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.fixture
def read(admin):
    """A function that returns a run, as the API shows it."""

    def ask(dag_id: str, run_id: str) -> dict[str, Any]:
        answer = admin.get(f"/dags/{dag_id}/dagRuns/{run_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return ask


@pytest.fixture(scope="module")
def done(script: Script):
    """The results of several requests at once. Each creates a run that ends by itself."""
    asked = ("--dag-id", "quick", "--allow-undeclared")
    done = script.each(
        bare=("--dag-id", "quick"),
        json=(*asked, "--conf", '{"a": [1, "ã"]}', "--note", "por quê? por teste", "-o", "json"),
        interval=("--dag-id", "ranged", "--inicio", START, "--fim", END, "-o", "json"),
        same_bounds=(
            *("--dag-id", "ranged", "--inicio", "2026-01-05T00:00:00Z", "--fim", "2026-01-06T00:00:00Z"),
            *("--set", "inicio=2026-01-04T21:00:00-03:00", "-o", "json"),
        ),
        scheduled=("--dag-id", "daily", "-o", "json"),
        logical=(*asked, "--logical-date", "2026-02-01T00:00:00Z", "-o", "json"),
        both=(
            *("--dag-id", "ranged", "--inicio", START, "--fim", END),
            *("--logical-date", "2026-02-03T00:00:00Z", "-o", "json"),
        ),
        delay=(*asked, "--delay", "2h10m20s", "-o", "json"),
        after=(*asked, "--run-after", "2100-01-01T00:00:00-03:00", "-o", "json"),
        named=(*asked, "--run-id", "by-hand~1", "--conf", '{"n": 1}', "-o", "json"),
    )
    assert {name: one.err for name, one in done.items() if one.code != 0} == {}
    return done


def test_a_run_is_shown_with_its_id_and_page(done, script, deployment):
    assert "manual__" in done["bare"].out
    assert f"{deployment.settings.url}/dags/quick/runs/manual__" in done["bare"].out
    assert done["bare"].err == ""


def test_a_run_in_json_is_what_the_api_knows(done, read):
    run = done["json"].json()
    assert set(run) == RUN_KEYS
    assert (run["dag_id"], run["conf"], run["note"]) == ("quick", {"a": [1, "ã"]}, "por quê? por teste")
    known = read("quick", run["run_id"])
    assert (known["conf"], known["note"]) == (run["conf"], run["note"])
    assert known["triggering_user_name"] == run["triggered_by"] == "admin"
    assert instant(known["logical_date"]) == instant(run["logical_date"])


@pytest.mark.parametrize(
    ("name", "interval", "logical"),
    [
        ("interval", (START, END), START),
        ("same_bounds", ("2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z"), "2026-01-05T00:00:00Z"),
        ("both", (START, END), "2026-02-03T00:00:00Z"),
    ],
)
def test_the_data_interval_is_really_set(done, read, name, interval, logical):
    run = done[name].json()
    known = read("ranged", run["run_id"])
    for entry in (run, known):
        assert (instant(entry["data_interval_start"]), instant(entry["data_interval_end"])) == tuple(
            map(instant, interval)
        )
        assert instant(entry["logical_date"]) == instant(logical)


def test_without_bounds_a_run_has_the_interval_that_its_schedule_closed_last(done, read):
    known = read("daily", done["scheduled"].json()["run_id"])
    start, end = instant(known["data_interval_start"]), instant(known["data_interval_end"])
    assert end - start == timedelta(days=1)
    assert timedelta() <= instant(known["logical_date"]) - end < timedelta(days=1)


def test_a_logical_date_alone_is_kept(done, read):
    known = read("quick", done["logical"].json()["run_id"])
    assert instant(known["logical_date"]) == datetime(2026, 2, 1, tzinfo=UTC)


def test_a_delayed_run_waits(done, read):
    known = read("quick", done["delay"].json()["run_id"])
    assert known["state"] == "queued"
    late = instant(known["run_after"]) - datetime.now(UTC)
    assert timedelta(hours=1, minutes=50) < late <= timedelta(hours=2, minutes=10, seconds=20)
    known = read("quick", done["after"].json()["run_id"])
    assert instant(known["run_after"]) == datetime(2100, 1, 1, 3, tzinfo=UTC)


def test_the_same_id_twice_is_one_run_of_the_same_request_and_user(done, script, operator, run_ids):
    asked = ("--dag-id", "quick", "--allow-undeclared", "--run-id", "by-hand~1", "-o", "json")
    other = script.having(AIRFLOW_USERNAME=operator.name, AIRFLOW_PASSWORD=operator.password)
    again = script.each(
        same=(*asked, "--conf", '{"n": 1}'),
        conf=(*asked, "--conf", '{"n": 2}'),
        interval=(*asked, "--conf", '{"n": 1}', "--inicio", START, "--fim", END),
        note=(*asked, "--conf", '{"n": 1}', "--note", "other"),
    )
    again["user"] = other(*asked, "--conf", '{"n": 1}')
    assert {name: one.code for name, one in again.items()} == {
        "same": 0,
        "conf": 2,
        "interval": 2,
        "note": 2,
        "user": 2,
    }
    assert again["same"].json()["run_id"] == done["named"].json()["run_id"] == "by-hand~1"
    assert "by-hand~1" in again["conf"].err
    assert "conf" in again["conf"].err
    assert "interval" in again["interval"].err or "logical date" in again["interval"].err
    assert "note" in again["note"].err
    assert "made by admin" in again["user"].err
    assert [run_id for run_id in run_ids("quick") if "by-hand" in run_id] == ["by-hand~1"]


def test_a_logical_date_that_another_run_has_is_refused_by_that_runs_name(done, script):
    taken = script("--dag-id", "ranged", "--inicio", START, "--fim", "2026-01-03T00:00:00Z")
    assert taken.code == 2
    assert done["interval"].json()["run_id"] in taken.err


def test_dry_run_prints_the_request_and_creates_nothing(script, admin, run_ids, deployment):
    done = script.each(
        described=(
            *("--dag-id", "described", "--set", "dia=2026-01-01", "--run-id", "dry", "--note", "n"),
            *("--inicio", START, "--fim", END, "--dry-run", "-o", "json"),
        ),
        paused=("--dag-id", "paused", "--unpause", "--dry-run", "-o", "json"),
    )
    assert [one.code for one in done.values()] == [0, 0], done
    request = done["described"].json()
    assert set(request) == {"method", "url", "body"}
    assert request["method"] == "POST"
    assert request["url"] == f"{deployment.settings.url}/api/v2/dags/described/dagRuns"
    body = request["body"]
    assert (body["dag_run_id"], body["conf"], body["note"]) == ("dry", {"dia": "2026-01-01"}, "n")
    assert instant(body["logical_date"]) == instant(body["data_interval_start"]) == instant(START)
    assert instant(body["data_interval_end"]) == instant(END)
    assert run_ids("described") == run_ids("paused") == set()
    assert admin.get("/dags/paused").json()["is_paused"] is True
    # The API accepts the printed request.
    assert admin.post("/dags/described/dagRuns", json=body).status_code == 200
    assert run_ids("described") == {"dry"}


def test_a_paused_dag_is_refused_unless_it_may_be_unpaused(script, admin, run_ids):
    refused = script("--dag-id", "paused")
    assert refused.code == 2
    assert "paused" in refused.err
    assert "--unpause" in refused.err
    assert run_ids("paused") == set()
    assert admin.get("/dags/paused").json()["is_paused"] is True

    allowed = script("--dag-id", "paused", "--unpause", "--run-id", "awake", "-o", "plain")
    assert allowed.code == 0, allowed.err
    assert allowed.out.split("\t")[0] == "awake"
    assert run_ids("paused") == {"awake"}
    assert admin.get("/dags/paused").json()["is_paused"] is False


def test_an_id_that_airflow_does_not_take_is_refused_with_its_rule(script):
    done = script("--dag-id", "quick", "--run-id", "by hand/1")
    assert done.code == 2
    assert "'by hand/1'" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_dag_whose_file_broke_meanwhile_is_refused_with_the_reason(script, admin, deployment, run_ids):
    def read_again(broken: bool) -> None:
        """Have the file parsed again, and wait until the API shows the result."""
        token = admin.get("/dags/breakable").json()["file_token"]
        assert admin.put(f"/parseDagFile/{token}").status_code == 201

        def is_read() -> bool:
            return admin.get("/dags/breakable").json()["has_import_errors"] is broken

        until(is_read, PATIENCE, "the file's reading", pause=0.2)

    marker = deployment.folder / "airflow" / "broken"
    marker.touch()
    try:
        read_again(broken=True)
        done = script.each(
            trigger=("--dag-id", "breakable"),
            list=("--list", "--pattern", "breakable", "-o", "json"),
            errors=("--list", "--import-errors", "-o", "json"),
        )
    finally:
        marker.unlink()
    read_again(broken=False)
    assert done["trigger"].code == 2
    [line] = done["trigger"].err.splitlines()
    assert "breakable.py" in line
    assert "LookupError: somebody broke this file" in line
    assert run_ids("breakable") == set()
    assert [(dag["dag_id"], dag["import_error"]) for dag in done["list"].json()] == [("breakable", True)]
    errors = {error["file"]: error for error in done["errors"].json()}
    assert set(errors) == {"breakable.py", "broken.py"}
    assert errors["breakable.py"]["dag_ids"] == ["breakable"]
    assert errors["broken.py"]["dag_ids"] == []
    assert errors["broken.py"]["error"].startswith("Traceback")
    assert {error["bundle"] for error in errors.values()} == {"trigger"}
