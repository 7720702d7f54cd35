"""The client, used from Python code."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

import trigger_script
from local.servers.server import free_port
from tests.trigger.faulty import Faulty, answer, lost
from tests.trigger.script import PATIENCE
from trigger_script import AirflowClient

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def client(deployment, admin) -> Iterator[AirflowClient]:
    """A client as the admin, which stores no token."""
    settings = deployment.settings
    with AirflowClient(
        settings.url, username=settings.admin_user, password=settings.admin_password, cache=False
    ) as client:
        yield client


def test_dags_are_typed(client):
    dags = {dag.dag_id: dag for dag in client.dags(tags=["kinds"])}
    assert "many_000" not in dags
    assert dags["quick"].owners == ["ana"]
    assert {dag.dag_id for dag in client.dags(paused=True, tags=["many"])} == {
        f"many_{number:03}" for number in range(110)
    }
    params = client.dag("described").params
    assert params is not None
    assert list(params) == ["dia", "modo", "limite", "tabelas", "queue"]
    assert (params["limite"].default, params["limite"].schema["maximum"]) == (5, 10)
    [failure] = client.import_failures()
    assert (failure.file, failure.reason) == ("broken.py", "ModuleNotFoundError: No module named 'nowhere'")


def test_a_run_from_its_request_to_its_end(client):
    run_id = f"python-{secrets.token_hex(4)}"
    asked = {"run_id": run_id, "data_interval": (START, END), "note": "by Python"}
    conf = {"inicio": START.isoformat()}
    run = client.trigger("ranged", conf, **asked)
    assert (run.dag_id, run.run_id, run.conf, run.note) == ("ranged", run_id, conf, "by Python")
    assert (run.data_interval_start, run.data_interval_end, run.logical_date) == (START, END, START)
    assert client.trigger("ranged", conf, **asked).run_id == run_id
    with pytest.raises(trigger_script.RequestRefused, match="data interval end"):
        client.trigger("ranged", conf, **{**asked, "data_interval": (START, END + timedelta(days=1))})
    with pytest.raises(trigger_script.RequestRefused, match=run_id):
        client.trigger("ranged", logical_date=START)

    seen = []
    ended = client.wait(
        "ranged", run_id, timeout=PATIENCE, interval=0.2, progress=lambda run, tasks: seen.append(run.state)
    )
    assert ended.state == seen[-1] == "success"
    assert ended.finished
    [task] = client.tasks("ranged", run_id)
    assert (task.task_id, task.map_index, task.state) == ("nothing", -1, "success")


def test_waiting_ends_in_time(client):
    late = client.trigger("quick", run_after=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(trigger_script.WaitTimeout, match="still queued") as caught:
        client.wait("quick", late.run_id, timeout=0.5, interval=0.2)
    assert caught.value.exit_code == 6
    assert client.run("quick", late.run_id).state == "queued"


def test_conf_is_checked(client):
    dag = client.dag("described")
    trigger_script.check_conf(dag, {"dia": "2026-01-01"})
    with pytest.raises(trigger_script.RequestRefused, match="'limite'"):
        trigger_script.check_conf(dag, {"dia": "2026-01-01", "limite": 0})


def test_a_backfill_is_planned(client):
    plan = client.plan_backfill("daily", datetime(2025, 2, 10, tzinfo=UTC), datetime(2025, 2, 12, tzinfo=UTC))
    assert plan.logical_dates == [datetime(2025, 2, day, tzinfo=UTC) for day in (10, 11)]


@pytest.mark.parametrize(
    ("error", "code", "ask"),
    [
        ("NotFound", 3, lambda client: client.dag("quik")),
        ("NotFound", 3, lambda client: client.trigger("quik")),
        ("NotFound", 3, lambda client: client.run("quick", "nowhere")),
        ("NotFound", 3, lambda client: client.backfill(99_999)),
        ("RequestRefused", 2, lambda client: client.trigger("described", {"dia": 5})),
    ],
    ids=["dag", "trigger", "run", "backfill", "conf"],
)
def test_errors_are_of_a_kind(client, error, code, ask):
    with pytest.raises(getattr(trigger_script, error)) as caught:
        ask(client)
    assert caught.value.exit_code == code
    assert isinstance(caught.value, trigger_script.TriggerError)
    assert "\n" not in str(caught.value)


def test_who_may_not_and_what_is_not_there(deployment, viewer):
    url = deployment.settings.url
    with (
        AirflowClient(url, username=viewer.name, password=viewer.password, cache=False) as client,
        pytest.raises(trigger_script.NotAllowed, match="Forbidden"),
    ):
        client.trigger("quick")
    with (
        AirflowClient(url, username=viewer.name, password="wrong", cache=False) as client,
        pytest.raises(trigger_script.NotAllowed, match=viewer.name),
    ):
        client.dags()
    with (
        AirflowClient(f"http://127.0.0.1:{free_port()}", token="x", connect_timeout=0.5) as client,
        pytest.raises(trigger_script.ApiUnavailable, match="refused"),
    ):
        client.dags()


def test_it_tries_again_as_the_command_does(deployment, faulty: Faulty, client, run_ids):
    settings = deployment.settings
    before = run_ids("quick")
    faulty.breaks("POST", "/dagRuns$", lost, answer(503))
    with AirflowClient(
        faulty.url, username=settings.admin_user, password=settings.admin_password, cache=False
    ) as flaky:
        run = flaky.trigger("quick")
    assert run_ids("quick") - before == {run.run_id}
