"""Features that a crontab lacks, each tested on the running deployment. docs/why-airflow.md names these tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from local.deployment.api import AirflowApi, Run
from local.deployment.stack import Deployment
from tests.e2e.runs import PATIENCE, ended, instances, log, path, tries, until

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def cron(deployment: Deployment, api: AirflowApi) -> AirflowApi:
    """The API, when the DAGs are known. `ola` is scheduled from now on."""
    for dag in ("branches", "stubborn", "endless", "ola"):
        api.unpause(dag, PATIENCE, deployment.supervisor.check)
    return api


@pytest.fixture(scope="module")
def runs(deployment: Deployment, cron: AirflowApi) -> Callable[[str, int], str]:
    """A function that waits for the run of a DAG with a number in its conf, and returns its id. All run at the same time."""
    keys = {"branches": "parts", "stubborn": "failures"}
    wanted = [("branches", 0), ("branches", 2), ("stubborn", 2), ("stubborn", 9), ("endless", 0)]
    ids = {
        (dag, number): cron.trigger(dag, {keys[dag]: number} if dag in keys else {}) for dag, number in wanted
    }

    def over(dag: str, number: int) -> str:
        ended(deployment, cron, dag, ids[dag, number])
        return ids[dag, number]

    return over


def state(api: AirflowApi, dag: str, run: str) -> str:
    return str(api.call("GET", path(dag, run))["state"])


def test_dependencies_and_conditions(cron, runs):
    full, empty = runs("branches", 2), runs("branches", 0)
    assert state(cron, "branches", full) == state(cron, "branches", empty) == "success"
    loaded = {(one.task, one.index): one for one in instances(cron, "branches", full)}
    assert {key: one.state for key, one in loaded.items()} == {
        ("measure", -1): "success",
        ("choose", -1): "success",
        ("load", 0): "success",
        ("load", 1): "success",
        ("rest", -1): "skipped",
        ("report", -1): "success",
    }
    times = {key: one.ran for key, one in loaded.items() if one.state == "success"}
    assert times["measure", -1][1] <= times["choose", -1][0]
    assert max(times["load", index][1] for index in (0, 1)) <= times["report", -1][0]
    rested = {one.task: one.state for one in instances(cron, "branches", empty)}
    assert (rested["load"], rested["rest"], rested["report"]) == ("skipped", "success", "success")


def test_state_passes_from_task_to_task_and_is_kept(cron, runs):
    run = path("branches", runs("branches", 2))
    kept = cron.call("GET", f"{run}/taskInstances/measure/xcomEntries/return_value")
    assert kept["value"] in ([0, 1], "[0, 1]")
    assert cron.call("GET", run)["conf"] == {"parts": 2}


def test_retries_wait_longer_each_time_and_every_try_keeps_its_log(deployment, cron, runs):
    run = runs("stubborn", 2)
    assert state(cron, "stubborn", run) == "success"
    first, second, third = tries(cron, "stubborn", run, "attempt")
    assert (first.state, second.state, third.state) == ("failed", "failed", "success")
    # The delay is one second, doubled with each try; on a busy machine it may be longer.
    assert second.ran[0] - first.ran[1] >= timedelta(seconds=1)
    assert third.ran[0] - second.ran[1] >= timedelta(seconds=2)
    for attempt, failed in ((1, True), (2, True), (3, False)):
        text = log(cron, "stubborn", run, "attempt", attempt)
        assert ("no way in with" in text) is failed
        assert deployment.settings.postgres_password not in text


def test_what_follows_a_failure_does_not_run(cron, runs):
    run = runs("stubborn", 9)
    assert state(cron, "stubborn", run) == "failed"
    states = {one.task: one.state for one in instances(cron, "stubborn", run)}
    assert states == {"attempt": "failed", "after": "upstream_failed"}


def test_a_time_limit_ends_what_would_run_for_ever(cron, runs):
    run = runs("endless", 0)
    assert state(cron, "endless", run) == "failed"
    assert "AirflowTaskTimeout" in log(cron, "endless", run, "spin", 1)


@pytest.mark.parametrize(
    ("dag", "hours"),
    [("at_three_Sao_Paulo", {6}), ("at_three_New_York", {7, 8})],
    ids=["a zone without daylight saving time", "a zone with it"],
)
def test_three_in_the_morning_is_three_in_the_morning(deployment, cron, dag, hours):
    zone = ZoneInfo({"at_three_Sao_Paulo": "America/Sao_Paulo", "at_three_New_York": "America/New_York"}[dag])
    # New York's clocks change on 8 March 2026: from then on, three o'clock is an hour earlier in UTC, still once a day.
    planned = cron.call(
        "POST",
        "/api/v2/backfills/dry_run",
        json={"dag_id": dag, "from_date": "2026-03-05T00:00:00Z", "to_date": "2026-03-12T00:00:00Z"},
    )["backfills"]
    moments = [datetime.fromisoformat(one["logical_date"]) for one in planned]
    assert [moment.astimezone(zone).strftime("%d %H:%M") for moment in moments] == [
        f"{day:02} 03:00" for day in range(5, 12)
    ]
    assert {moment.astimezone(UTC).hour for moment in moments} == hours
    following = datetime.fromisoformat(cron.call("GET", f"/api/v2/dags/{dag}")["next_dagrun_run_after"])
    assert following.astimezone(zone).strftime("%H:%M") == "03:00"


def test_missed_runs_do_not_pile_up_and_are_made_up_for_on_request(deployment, cron):
    cron.unpause("yearly", PATIENCE, deployment.supervisor.check)
    # A quarter of a century was missed, but only the last interval runs.
    [only] = until(deployment, lambda: [run for run in cron.runs("yearly", EPOCH) if run.state == "success"])
    assert only.run_type == "scheduled"
    assert only.end == datetime(only.end.year, 1, 1, tzinfo=UTC)
    following = cron.call("GET", "/api/v2/dags/yearly")["next_dagrun_run_after"]
    assert datetime.fromisoformat(following) == datetime(only.end.year + 1, 1, 1, tzinfo=UTC)

    cron.call(
        "POST",
        "/api/v2/backfills",
        json={"dag_id": "yearly", "from_date": "2010-01-01T00:00:00Z", "to_date": "2012-01-01T00:00:00Z"},
    )

    def made_up() -> list[Run]:
        return [
            run for run in cron.runs("yearly", EPOCH) if (run.run_type, run.state) == ("backfill", "success")
        ]

    until(deployment, lambda: len(made_up()) == 3)
    years = {(run.start.year, run.end.year) for run in made_up() if run.start and run.end}
    assert years == {
        (2010, 2011),
        (2011, 2012),
        (2012, 2013),
    }
    assert len(cron.runs("yearly", EPOCH)) == 4


def test_ola_prints_the_time_every_minute_where_everybody_can_read_it(deployment, cron):
    runs = until(
        deployment,
        lambda: [
            run for run in cron.runs("ola", EPOCH) if (run.run_type, run.state) == ("scheduled", "success")
        ],
    )
    text = log(cron, "ola", runs[0].run_id, "diga_a_hora", 1)
    assert "Olá! São " in text
    assert cron.call("GET", "/api/v2/dags/ola")["timetable_summary"] == "* * * * *"
    cron.call("PATCH", "/api/v2/dags/ola", json={"is_paused": True})


def test_history_of_every_run_is_kept(cron, runs):
    expected = {runs("stubborn", 2): "success", runs("stubborn", 9): "failed"}
    kept = {run.run_id: run for run in cron.runs("stubborn", EPOCH)}
    assert {run_id: kept[run_id].state for run_id in expected} == expected
    assert all(run.seconds is not None and run.conf for run in kept.values())
    events = cron.call("GET", "/api/v2/eventLogs", params={"dag_id": "stubborn", "event": "trigger_dag_run"})
    assert {event["owner"] for event in events["event_logs"]} == {"admin"}
