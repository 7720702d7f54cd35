"""One tick: what is started, what each fault leaves behind, and who comes first."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import pytest
import requests

from include.tarefas.jobs import client
from include.tarefas.jobs.client import Api
from include.tarefas.jobs.model import Definition, Job, NewJob
from include.tarefas.jobs.start import Report, tick
from include.tarefas.jobs.store import DatabaseUnavailableError, Store
from local.waiting import until
from tests.include.tarefas.jobs.recorder import ENDED, PASSWORD, USER, Recorder

NOW = datetime(2026, 11, 21, 14, 30, 20, tzinfo=UTC)
DUE = datetime(2026, 11, 21, 14, 30, tzinfo=UTC)
GRACE = timedelta(minutes=5)


def add(store: Store, dsn: str, name: str, due: datetime = DUE, **values: Any) -> Job:
    """A job whose first open due time is `due`."""
    job = {"task": "hello_world.send_hello_world", "cron": "* * * * *", "kwargs": {"to": "Ana"}, **values}
    store.add(NewJob.model_validate({"name": name, **job}))
    write(dsn, "UPDATE jobs SET next_run_at = %s WHERE name = %s", due, name)
    return store.job(name)


def write(dsn: str, statement: str, *values: object) -> None:
    """What somebody does in psql."""
    with psycopg.connect(dsn) as connection:
        connection.execute(statement, values)


_runs = itertools.count(1)


def tried(dsn: str, instant: datetime, which: str = "true") -> None:
    """Let it have been tried then: what the clock would do."""
    write(dsn, f"UPDATE jobs SET tried_at = %s WHERE {which}", instant)


def run(store: Store, api: Api, now: datetime = NOW, run_id: str | None = None) -> Report:
    """One tick, of a run of its own unless `run_id` says which."""
    return tick(store, api, run_id or f"run-{next(_runs)}", GRACE, 20, now=lambda: now)


def test_what_is_due_is_started_once_and_the_next_time_is_written_down(store, api, dsn, server) -> None:
    job = add(store, dsn, "morning", queue="high", args=[1, "ç"])
    later = add(store, dsn, "later", due=DUE + timedelta(minutes=1))
    report = run(store, api)
    run_id = f"job__morning__{job.id}__20261121T143000Z"
    assert (report.started, report.there, report.errors, report.away) == ([run_id], [], {}, None)
    assert server.created == {
        run_id: {
            "tarefa": "hello_world.send_hello_world",
            "args": [1, "ç"],
            "kwargs": {"to": "Ana"},
            "queue": "high",
        }
    }
    assert server.notes[run_id] == "job morning, due 2026-11-21 14:30 UTC"
    done = store.job("morning")
    assert (done.next_run_at, done.last_run_at, done.last_state) == (
        DUE + timedelta(minutes=1),
        DUE,
        "queued",
    )
    assert store.job("later") == later
    assert run(store, api) == Report()


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("all", [f"14{minute:02}" for minute in range(31)]),
        ("once", ["1430"]),
        ("skip", [f"14{minute:02}" for minute in range(26, 31)]),
    ],
)
def test_missed_times_go_by_the_policy(store, api, dsn, server, missed: str, expected: list[str]) -> None:
    add(store, dsn, "job", due=DUE - timedelta(minutes=30), missed=missed)
    run(store, api)
    assert [run_id.rsplit("T", 1)[1] for run_id in server.created] == [f"{time}00Z" for time in expected]
    assert store.job("job").next_run_at == DUE + timedelta(minutes=1)


@pytest.mark.parametrize("fault", ["before", "after", "slow", 500, 503, 429])
def test_no_answer_loses_and_doubles_nothing(store, api, dsn, server: Recorder, fault: str | int) -> None:
    add(store, dsn, "job")
    server.faults = lambda _: fault
    report = run(store, api)
    assert report.started == report.there == []
    assert report.away
    assert report.away.startswith("job: ")
    assert store.job("job").next_run_at == DUE
    server.faults = lambda _: None
    report = run(store, api, NOW + timedelta(seconds=30))
    assert len(report.started + report.there) == len(server.created) == 1
    assert bool(report.there) == (fault in ("after", "slow"))
    assert store.job("job").next_run_at == DUE + timedelta(minutes=1)


def test_a_passing_fault_is_outlived_within_the_tick(store, api, dsn, server: Recorder) -> None:
    add(store, dsn, "job")
    server.faults = lambda run_id: "after" if server.posts[run_id] == 1 else None
    report = run(store, api)
    assert len(report.there) == 1
    assert report.away is None


def test_one_job_without_an_answer_does_not_hold_up_the_others(store, api, dsn, server: Recorder) -> None:
    for number in range(10):
        add(store, dsn, f"job-{number}")
    server.faults = lambda run_id: "slow" if "job-0" in run_id else None
    report = run(store, api)
    assert len(report.started) == 9
    assert (report.away or "").startswith("job-0: ")
    # Asked for twice, in one go, and not again in this tick.
    assert [server.posts[run_id] for run_id in server.posts if "job-0" in run_id] == [2]


def test_an_api_server_that_is_away_ends_the_tick_soon_and_loses_nothing(
    store, dsn, server: Recorder
) -> None:
    for number in range(20):
        add(store, dsn, f"job-{number:02}")
    with requests.Session() as session:
        report = run(store, Api(session, "http://127.0.0.1:9", "x", "x"))
    assert "can't be reached: " in str(report.away)
    tried = [job.name for job in store.jobs() if job.next_run_at == DUE]
    assert len(tried) == 20
    server.faults = lambda _: 503
    with requests.Session() as session:
        again = Api(session, server.url, USER, PASSWORD)
        run(store, again)
        # Those that were not tried before come first.
        assert {run_id.split("__")[1] for run_id in server.posts} == {"job-03", "job-04", "job-05"}
        server.faults = lambda _: None
        assert len(run(store, again).started) == 20


def test_a_job_with_thousands_of_due_times_lets_the_others_go_first(
    store, api, dsn, server: Recorder
) -> None:
    add(store, dsn, "backlog", due=DUE - timedelta(days=30), missed="all")
    for number in range(5):
        add(store, dsn, f"job-{number}")
    # A clock that ticks at each look: room for eight.
    looks = iter(range(1000))
    report = tick(store, api, "run", GRACE, 9, now=lambda: NOW, clock=lambda: float(next(looks)))
    names = [run_id.split("__")[1] for run_id in report.started]
    assert sorted(names)[:-5] == ["backlog"] * 3
    assert len(names) == 8
    assert names.index("backlog", 1) > 5


def test_bad_rows_say_why_and_stop_no_other(store, api, dsn, server: Recorder) -> None:
    for name in ("a-good", "bad-cron", "bad-zone", "bad-task", "z-good"):
        add(store, dsn, name)
    write(dsn, "UPDATE jobs SET cron = '61 * * * *' WHERE name = 'bad-cron'")
    write(dsn, "UPDATE jobs SET timezone = 'Sao_Paulo' WHERE name = 'bad-zone'")
    server.faults = lambda run_id: 400 if "bad-task" in run_id else None
    report = run(store, api)
    assert [run_id.split("__")[1] for run_id in report.started] == ["a-good", "z-good"]
    assert report.errors.keys() == {"bad-cron", "bad-zone", "bad-task"}
    assert "61 * * * *" in report.errors["bad-cron"]
    assert "time zone 'Sao_Paulo' is not known" in report.errors["bad-zone"]
    assert report.errors["bad-task"] == "400 refused on purpose (400)"
    assert store.job("bad-task").last_error == report.errors["bad-task"]
    # Neither tried nor told again soon, unless somebody changes it.
    posts = dict(server.posts)
    assert run(store, api) == Report()
    assert dict(server.posts) == posts
    server.faults = lambda _: None
    store.change("bad-task", lambda job: definition(job, kwargs={}))
    report = run(store, api)
    assert [run_id.split("__")[1] for run_id in report.started] == ["bad-task"]
    assert store.job("bad-task").last_error is None


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("all", ["1420", "1425", "1430"]), ("once", ["1430"]), ("skip", ["1430"])],
)
def test_a_job_that_was_bad_for_a_while_goes_on_by_itself(
    store, api, dsn, server: Recorder, missed: str, expected: list[str]
) -> None:
    add(store, dsn, "job", due=DUE - timedelta(minutes=10), missed=missed, cron="*/5 * * * *")
    server.faults = lambda _: 400
    at_first = NOW - timedelta(minutes=10)
    assert run(store, api, at_first).errors == {"job": "400 refused on purpose (400)"}
    server.faults = lambda _: None
    tried(dsn, NOW - timedelta(minutes=10))
    assert run(store, api) == Report()
    assert store.job("job").last_error
    tried(dsn, NOW - timedelta(minutes=10, seconds=1))
    assert run(store, api).errors == {}
    assert [run_id.rsplit("T", 1)[1] for run_id in server.created] == [f"{time}00Z" for time in expected]
    done = store.job("job")
    assert (done.last_error, done.next_run_at) == (None, DUE + timedelta(minutes=5))
    # Bad again, it is told again.
    server.faults = lambda _: 400
    assert run(store, api, NOW + timedelta(minutes=5)).errors.keys() == {"job"}


def test_the_same_error_again_is_no_news_and_another_is(store, api, dsn, server: Recorder) -> None:
    add(store, dsn, "job")
    told: list[str] = []
    for status in (400, 400, 422, 422, 400):
        server.faults = partial(lambda status, _: status, status)
        tried(dsn, NOW - timedelta(minutes=11))
        told += run(store, api).errors.values()
    assert told == [f"{status} refused on purpose ({status})" for status in (400, 422, 400)]
    assert sum(server.posts.values()) == 5


def test_bad_jobs_come_behind_all_others_and_once_in_a_tick(store, api, dsn, server: Recorder) -> None:
    for number in range(5):
        add(store, dsn, f"bad-{number}")
    server.faults = lambda run_id: 400 if "bad" in run_id else None
    run(store, api)
    for number in range(5):
        add(store, dsn, f"good-{number}", due=DUE - timedelta(minutes=1), missed="all")
    tried(dsn, NOW - timedelta(days=1), "name LIKE 'bad%%'")
    server.posts.clear()
    run(store, api)
    names = [run_id.split("__")[1] for run_id in server.posts]
    assert [name[:3] for name in names] == ["goo"] * 10 + ["bad"] * 5
    assert set(server.posts.values()) == {1}


def test_a_bad_job_without_an_answer_waits_as_long_again(store, api, dsn, server: Recorder) -> None:
    add(store, dsn, "job")
    server.faults = lambda _: 400
    run(store, api)
    tried(dsn, NOW - timedelta(minutes=11))
    server.faults = lambda _: 503
    assert run(store, api).away
    server.posts.clear()
    assert run(store, api) == Report()
    assert not server.posts
    assert store.job("job").last_error == "400 refused on purpose (400)"


def test_an_error_that_was_not_told_is_told_by_the_next_tick(store, api, dsn, monkeypatch) -> None:
    add(store, dsn, "bad", cron="0 0 1 1 *")
    write(dsn, "UPDATE jobs SET cron = 'nonsense' WHERE name = 'bad'")
    with monkeypatch.context() as patched:
        patched.setattr(Store, "claim_errors", killed)
        with pytest.raises(RuntimeError, match="killed"):
            run(store, api)
    assert run(store, api).errors.keys() == {"bad"}
    assert run(store, api).errors == {}


def test_an_error_that_was_told_and_lost_is_told_by_the_retry_alone(store, api, dsn, monkeypatch) -> None:
    add(store, dsn, "bad", cron="0 0 1 1 *")
    write(dsn, "UPDATE jobs SET cron = 'nonsense' WHERE name = 'bad'")
    claim_errors = Store.claim_errors
    with monkeypatch.context() as patched:
        patched.setattr(Store, "claim_errors", lambda *its: killed(claim_errors(*its)))
        with pytest.raises(RuntimeError, match="killed"):
            run(store, api, run_id="first")
    assert run(store, api, run_id="second").errors == {}
    assert run(store, api, run_id="first").errors.keys() == {"bad"}


@pytest.mark.parametrize(("status", "said"), [(403, "refused on purpose"), (404, "refused on purpose")])
def test_what_is_wrong_with_the_connection_blames_no_job(
    store, api, dsn, server, status: int, said: str
) -> None:
    add(store, dsn, "job")
    server.faults = lambda _: status
    with pytest.raises(client.UnusableError, match=said):
        run(store, api)
    assert store.job("job").last_error is None
    assert store.job("job").next_run_at == DUE


def test_a_dag_that_can_not_be_imported_blames_no_job(store, api, dsn, server) -> None:
    add(store, dsn, "job")
    server.faults, server.broken = lambda _: 400, True
    with pytest.raises(client.UnusableError, match="executar_tarefa has an import error"):
        run(store, api)
    assert store.job("job").last_error is None


def test_states_follow_the_runs(store, api, dsn, server) -> None:
    jobs = [add(store, dsn, name) for name in ("a", "b", "c", "d")]
    run(store, api)
    ids = [job.run_id(DUE) for job in jobs]
    server.states |= dict(zip(ids, ["running", "success", "failed", "queued"], strict=True))
    del server.states[ids[3]]
    run(store, api)
    assert [job.last_state for job in store.jobs()] == ["running", "success", "failed", "removed"]
    server.states |= {ids[0]: "success", ids[1]: "queued"}
    run(store, api)
    # What was over is not looked at again.
    assert [job.last_state for job in store.jobs()] == ["success", "success", "failed", "removed"]


def test_a_run_that_still_runs_holds_nothing_up_and_its_state_hides_no_newer_one(
    store, api, dsn, server
) -> None:
    job = add(store, dsn, "job")
    run(store, api)
    server.states[job.run_id(DUE)] = "running"
    run(store, api, NOW + timedelta(minutes=1))
    following = DUE + timedelta(minutes=1)
    assert set(server.created) == {job.run_id(DUE), job.run_id(following)}
    older = job.model_copy(update={"last_run_at": DUE})
    store.follow(older, "failed")
    assert (store.job("job").last_run_at, store.job("job").last_state) == (following, "queued")


def test_a_job_of_every_minute_shows_the_outcome_of_its_last_run_that_has_ended(
    store, api, dsn, server
) -> None:
    job = add(store, dsn, "job")
    dues = [DUE + timedelta(minutes=number) for number in range(4)]
    shown = []
    for number, due in enumerate(dues):
        run(store, api, NOW + timedelta(minutes=number))
        found = store.job("job")
        shown.append((found.last_state, found.outcome, found.outcome_run_at, found.next_run_at))
        # Each run fails after the tick that started it, and before the next.
        server.states[job.run_id(due)] = "failed"
    assert shown == [
        ("queued", None, None, dues[1]),
        ("queued", "failed", dues[0], dues[2]),
        ("queued", "failed", dues[1], dues[3]),
        ("queued", "failed", dues[2], dues[3] + timedelta(minutes=1)),
    ]
    assert store.job("job").outcome_at == datetime.fromisoformat(ENDED)


def test_a_run_that_hangs_hides_no_newer_outcome_and_the_runs_that_are_followed_are_bounded(
    store, api, dsn, server
) -> None:
    job = add(store, dsn, "job")
    dues = [DUE + timedelta(minutes=number) for number in range(30)]
    for number in range(30):
        run(store, api, NOW + timedelta(minutes=number))
    # The oldest could be the only one that ever ends.
    assert store.job("job").open_runs == [dues[0], *dues[-9:]]
    server.states[job.run_id(dues[-3])] = "success"
    run(store, api, NOW + timedelta(minutes=29))
    found = store.job("job")
    assert (found.outcome, found.outcome_run_at, found.open_runs) == ("success", dues[-3], dues[-2:])
    # An older one that ends afterwards is not newer.
    server.states[job.run_id(dues[0])] = "failed"
    run(store, api, NOW + timedelta(minutes=29))
    assert store.job("job").outcome == "success"


def test_a_removed_run_is_an_outcome_at_the_time_when_it_was_missed(store, api, dsn, server) -> None:
    job = add(store, dsn, "job")
    run(store, api)
    del server.states[job.run_id(DUE)]
    before = store.now()
    run(store, api)
    found = store.job("job")
    assert (found.outcome, found.outcome_run_at, found.open_runs) == ("removed", DUE, [])
    assert found.outcome_at is not None
    assert found.outcome_at >= before - timedelta(seconds=1)


def test_a_run_that_an_operator_makes_with_the_id_of_a_due_time_does_not_count_as_done(
    store, api, dsn, server
) -> None:
    job = add(store, dsn, "job", missed="all")
    server.let_another_make(job.run_id(DUE), job.conf() | {"kwargs": {"to": "Eva"}})
    report = run(store, api)
    assert (report.started, report.there) == ([], [])
    assert "was made by olga with another conf: delete that run" in report.errors["job"]
    assert store.job("job").next_run_at == DUE
    del server.created[job.run_id(DUE)]
    tried(dsn, NOW - timedelta(minutes=11))
    assert run(store, api).started == [job.run_id(DUE)]


def test_a_job_of_an_older_name_shares_no_run(store, api, dsn, server) -> None:
    first = add(store, dsn, "job")
    run(store, api)
    store.remove("job")
    second = add(store, dsn, "job")
    report = run(store, api)
    assert report.there == []
    assert set(server.created) == {first.run_id(DUE), second.run_id(DUE)}


def test_a_clock_that_steps_back_starts_nothing_twice(store, api, dsn, server) -> None:
    add(store, dsn, "job")
    run(store, api)
    assert run(store, api, NOW - timedelta(hours=1)) == Report()
    assert set(server.posts.values()) == {1}


def test_a_job_that_is_changed_while_it_is_started_waits_or_says_so(store, api, dsn, server) -> None:
    add(store, dsn, "job")
    with Store(dsn, patience=timedelta(seconds=1)) as person:
        with store.claim(NOW, excluding=[]) as claim:
            assert claim is not None
            with pytest.raises(
                DatabaseUnavailableError, match="the job is being started at this moment; try again"
            ):
                person.change("job", lambda job: definition(job, enabled=False))
            with pytest.raises(DatabaseUnavailableError, match="being started"):
                person.remove("job")
            with Store(dsn) as other, other.claim(NOW, excluding=[]) as nothing:
                assert nothing is None
        person.change("job", lambda job: definition(job, enabled=False))
    assert run(store, api) == Report()


def test_a_process_that_is_frozen_loses_its_job_and_can_not_write(dsn, api, server) -> None:
    def wake_up_late(frozen: Store) -> None:
        with frozen.claim(NOW, excluding=[]) as claim:
            assert claim is not None
            wait_for_the_next(other)
            # What it was about to do when it froze.
            assert api.start(claim.job.run_id(DUE), claim.job.conf(), "") is client.Outcome.THERE
            claim.started(DUE, DUE + timedelta(days=1))

    def wait_for_the_next(other: Store) -> None:
        until(lambda: run(other, api).started, 10, "the next start", pause=0.1)

    with Store(dsn, silence=timedelta(seconds=1)) as frozen, Store(dsn) as other:
        add(other, dsn, "job")
        with pytest.raises(DatabaseUnavailableError, match="does not answer"):
            wake_up_late(frozen)
        assert other.job("job").next_run_at == DUE + timedelta(minutes=1)
    assert len(server.created) == 1


def definition(job: Job, **changes: Any) -> Definition:
    return Definition.model_validate(job.model_dump(include=set(Definition.model_fields)) | changes)


def killed(*_: object) -> dict[str, str]:
    raise RuntimeError("killed")
