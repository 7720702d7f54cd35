"""The client of the API: a token when one is needed, and what every kind of answer means."""

from __future__ import annotations

from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import requests

from include.tarefas.jobs.client import Api, NoAnswerError, Outcome, RefusedError, Run, UnusableError
from tests.include.tarefas.jobs.recorder import ENDED, USER, Recorder

CONF = {"tarefa": "hello_world.send_hello_world"}


def test_one_token_serves_until_it_has_expired(api: Api, server: Recorder) -> None:
    assert [api.start(f"run-{number}", CONF, "") for number in range(3)] == [Outcome.STARTED] * 3
    assert server.logins == 1
    server.tokens.clear()
    assert api.start("run-1", CONF, "") is Outcome.THERE
    assert server.logins == 2


def test_a_token_that_is_refused_at_once_ends_it(api: Api, server: Recorder) -> None:
    server.faults = lambda _: 401
    with pytest.raises(UnusableError, match=rf"as {USER} \(connection airflow_api\): 401 refused on purpose"):
        api.start("run", CONF, "")


def test_a_wrong_password_is_named_without_it(server: Recorder) -> None:
    with requests.Session() as session:
        api = Api(session, server.url, USER, "the wrong secret")
        with pytest.raises(UnusableError) as caught:
            api.start("run", CONF, "")
    said = f"{server.url} does not know '{USER}' with this password (connection airflow_api)"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("conf", "fields", "differing"),
    [
        (CONF | {"kwargs": {"name": "Eva"}}, {}, "conf"),
        (CONF | {"queue": "low"}, {}, "conf"),
        (CONF, {"run_after": "2026-11-22T14:30:21Z"}, "delay"),
        ({}, {"triggering_user_name": None}, "conf"),
    ],
    ids=str,
)
def test_a_run_of_another_call_does_not_count(
    api: Api, server: Recorder, conf: dict[str, Any], fields: dict[str, Any], differing: str
) -> None:
    server.let_another_make("run", conf, **fields)
    maker = "another client" if "triggering_user_name" in fields else "olga"
    with pytest.raises(RefusedError, match=rf"^run run was made by {maker} with another {differing}: delete"):
        api.start("run", CONF, "")


def test_the_same_call_of_another_user_counts_and_so_does_an_own_run_of_an_earlier_definition(
    api: Api, server: Recorder
) -> None:
    server.let_another_make("same", CONF | {"args": [], "kwargs": {}, "queue": "default"})
    server.let_another_make("own", CONF | {"args": [1]}, triggering_user_name=USER.upper())
    assert [api.start(run_id, CONF, "") for run_id in ("same", "own")] == [Outcome.THERE] * 2


def test_a_run_that_is_removed_while_it_is_compared_is_asked_for_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.start("run", CONF, "")
    monkeypatch.setattr(api, "_entries", lambda run_ids: {})
    with pytest.raises(NoAnswerError, match="run run was removed at this moment"):
        api.start("run", CONF, "")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        *((status, NoAnswerError) for status in (408, 425, 429, 500, 502, 503, 504)),
        *((status, RefusedError) for status in (400, 413, 422)),
        *((status, UnusableError) for status in (403, 404)),
        *((fault, NoAnswerError) for fault in ("before", "after", "slow")),
    ],
)
def test_each_answer_means_one_thing(
    api: Api, server: Recorder, fault: str | int, error: type[Exception]
) -> None:
    server.faults = lambda _: fault
    with pytest.raises(error):
        api.start("run", CONF, "")
    # Asked again, once, where that may help.
    assert server.posts["run"] == (2 if error is NoAnswerError else 1)


def test_nobody_there(server: Recorder) -> None:
    with (
        requests.Session() as session,
        pytest.raises(NoAnswerError, match=r"127\.0\.0\.1:9 can't be reached"),
    ):
        Api(session, "http://127.0.0.1:9", USER, "x", timeout=timedelta(seconds=1)).start("run", CONF, "")


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (200, {}, b"<html>log in</html>", "answered 200 without a token"),
        (201, {}, b'{"access_token": "t"}', "answers, but not like Airflow"),
        (
            302,
            {"Location": "https://sso.example.com/"},
            b"",
            "sends on to https://sso.example.com/; give the final address as the host",
        ),
    ],
)
def test_something_else_that_answers_is_not_taken_for_airflow(
    status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with requests.Session() as session, pytest.raises(UnusableError, match=said):
            Api(session, f"http://127.0.0.1:{server.server_port}", USER, "x").start("run", CONF, "")
    finally:
        server.shutdown()
        server.server_close()


def test_states_of_many_runs_come_in_batches(api: Api, server: Recorder) -> None:
    ids = [f"job__a__1__{number:04}Z" for number in range(120)]
    for run_id in ids[:110]:
        api.start(run_id, CONF, "")
    server.states[ids[7]] = "success"
    ended = Run("success", datetime.fromisoformat(ENDED))
    assert api.runs(ids) == dict.fromkeys(ids[:110], Run("queued")) | {ids[7]: ended}
    assert api.runs([]) == {}
