"""An API that is down, slow or broken: which requests are retried, when it gives up, and that no run is created twice."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator

import pytest

from local.servers.server import free_port
from tests.trigger.faulty import Faulty, answer, hung_up, lost, silent, truncated
from tests.trigger.script import Script

LISTED = ("--list", "--tag", "fast", "-o", "plain", "--connect-timeout", "10")
HTML = "<html><head><title>502 Bad\nGateway</title></head><body><h1>nginx</h1></body></html>"


@pytest.fixture
def through(script: Script, faulty: Faulty) -> Script:
    """The script, through the proxy with faults."""
    return script.having(AIRFLOW_API_URL=faulty.url)


@pytest.mark.parametrize(
    "faults",
    [
        [answer(502, HTML, "text/html"), answer(503), answer(504, "upstream timed out", "text/plain")],
        [answer(429, "slow down", "text/plain", retry_after="1")],
        [hung_up, truncated],
        [answer(503, "{}", retry_after="Wed, 21 Oct 2015 07:28:00 GMT")],
    ],
    ids=["gateway", "too_many", "lost", "date"],
)
def test_what_time_heals_is_tried_again(through, faulty, faults):
    faulty.breaks("GET", "^/api/v2/dags", *faults)
    done = through(*LISTED)
    assert done.code == 0, done.err
    assert done.out.startswith("quick\t")
    assert done.err == ""


def test_a_dag_that_is_listed_before_its_definition_is_stored_is_not_called_unknown(through, faulty):
    faulty.breaks("GET", "/dags/quick/details$", answer(404, '{"detail": "The Dag was not found"}'))
    done = through("--dag-id", "quick")
    assert done.code == 3
    assert done.err == "error: DAG 'quick' is new and Airflow is still reading it: try again in a moment\n"
    assert not faulty.asked("POST", "/dagRuns$")


def test_also_the_login_is_tried_again(through, faulty, tmp_path):
    faulty.breaks("POST", "/auth/token", answer(503), hung_up)
    assert through.having(XDG_CACHE_HOME=tmp_path)(*LISTED).code == 0
    assert len(faulty.asked("POST", "/auth/token")) == 3


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (answer(200, HTML, "text/html"), ["502 Bad Gateway"]),
        (answer(200, "{'no': json", "application/json"), ["no"]),
        (answer(200, '{"dags": 5}'), []),
        (answer(200, "[1, 2]"), []),
        (answer(200, '{"dags": [{"dag_id": 7}], "total_entries": 1}'), []),
        (answer(500, "Internal Server Error", "text/plain"), ["500", "Internal Server Error"]),
        (answer(500, b"\xff\xfe\x00", "application/octet-stream"), ["500"]),
        (answer(302, "", location="http://127.0.0.1:1/login"), ["http://127.0.0.1:1/login", "--url"]),
        (answer(400, '{"detail": "one text"}'), ["one text"]),
        (answer(400, '{"detail": {"reason": "a dict", "message": "its message"}}'), ["its message"]),
        (
            answer(422, '{"detail": [{"loc": ["query", "limit"], "msg": "too big"}, {"msg": "and wrong"}]}'),
            ["query.limit: too big", "and wrong"],
        ),
        (answer(400, '{"error": "Not\\nFound"}'), ["Not Found"]),
        (answer(400, '{"title": "problem", "status": 400}'), ["problem"]),
        (answer(400, "\x1b[31mred\x07"), ["red"]),
        (answer(418, "x" * 5000, "text/plain"), ["xxx"]),
    ],
    ids=[
        *("html", "no_json", "other_json", "list", "half_a_dag", "plain_500", "binary", "redirect", "string"),
        *("dict", "validation", "error", "title", "control", "long"),
    ],
)
def test_whatever_it_answers_becomes_one_line(through, faulty, fault, said):
    faulty.always_breaks("GET", "^/api/v2/dags", fault)
    done = through(*LISTED)
    # 4xx means that the request is wrong; all other errors are the API's.
    assert done.code == (2 if fault.answer.status in range(400, 500) else 5), done.err
    assert done.out == ""
    [line] = done.err.splitlines()
    assert line.startswith("error: ")
    assert [part for part in said if part not in line] == []
    assert len(line) < 500
    assert "\x1b" not in line


def test_an_answer_that_stays_broken_is_given_up_in_time(through, faulty):
    faulty.always_breaks("GET", "^/api/v2/dags", answer(503, HTML, "text/html"))
    done = through("--list", "--connect-timeout", "1.5")
    assert done.code == 5
    [line] = done.err.splitlines()
    assert "503" in line
    assert len(faulty.asked("GET", "^/api/v2/dags")) > 1


def test_a_wish_to_wait_longer_than_there_is_patience_is_not_granted(through, faulty):
    faulty.always_breaks("GET", "^/api/v2/dags", answer(503, "later", "text/plain", retry_after="3600"))
    done = through("--list", "--connect-timeout", "2")
    assert done.code == 5
    assert len(faulty.asked("GET", "^/api/v2/dags")) == 1


def test_an_api_that_is_silent_is_given_up(through, faulty):
    faulty.always_breaks("GET", "^/api/v2/dags", silent)
    done = through("--list", "--connect-timeout", "1")
    assert done.code == 5
    assert len(done.err.splitlines()) == 1


def test_nobody_at_home_is_given_up(alone):
    away = alone.having(AIRFLOW_USERNAME="ana", AIRFLOW_PASSWORD="secret-word")
    done = away.each(
        closed=("--list", "--url", f"http://127.0.0.1:{free_port()}", "--connect-timeout", "1"),
        unknown=("--list", "--url", "http://nowhere.invalid", "--connect-timeout", "1"),
    )
    assert [one.code for one in done.values()] == [5, 5]
    assert "Connection refused" in done["closed"].err
    assert "nowhere.invalid" in done["unknown"].err
    assert all(
        len([line for line in one.err.splitlines() if line.startswith("error: ")]) == 1
        for one in done.values()
    )
    assert not [one for one in done.values() if "secret-word" in one.err]


def test_twenty_seconds_are_the_default(alone):
    assert re.search(r"--connect-timeout SECONDS .*?default: 20", alone("--help").out, re.DOTALL)


@pytest.fixture
def other_service() -> Iterator[str]:
    """The address of a server that does not use HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"220 mail.example.com ESMTP ready\r\n")

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_something_else_than_http_is_exit_code_5(script, other_service):
    done = script("--list", "--url", other_service, "--connect-timeout", "1")
    assert done.code == 5
    [line] = done.err.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize(
    "faults", [[lost], [truncated], [lost, answer(503), lost]], ids=["lost", "half", "often"]
)
def test_a_lost_answer_makes_no_second_run(through, faulty, run_ids, faults):
    before = run_ids("quick")
    faulty.breaks("POST", "/dagRuns$", *faults)
    done = through("--dag-id", "quick", "--connect-timeout", "15", "-o", "json")
    assert done.code == 0, done.err
    assert run_ids("quick") - before == {done.json()["run_id"]}
    assert len(faulty.asked("POST", "/dagRuns$")) == len(faults) + 1
    bodies = {one.body for one in faulty.asked("POST", "/dagRuns$")}
    assert len(bodies) == 1
    assert json.loads(bodies.pop())["dag_run_id"] == done.json()["run_id"]


def test_a_run_that_nobody_confirmed_is_named(through, faulty, run_ids):
    before = run_ids("quick")
    faulty.always_breaks("POST", "/dagRuns$", lost)
    done = through("--dag-id", "quick", "--run-id", "unconfirmed", "--connect-timeout", "1")
    assert done.code == 5
    assert "--watch unconfirmed" in done.err
    assert run_ids("quick") - before == {"unconfirmed"}


def test_a_wait_outlives_what_time_heals(through, faulty):
    faulty.breaks("GET", "/dagRuns/[^/]+$", answer(502, HTML, "text/html"), hung_up, truncated)
    faulty.breaks("GET", "/taskInstances", answer(503))
    done = through("--dag-id", "quick", "--wait", "--interval", "0.2", "-o", "plain")
    assert done.code == 0, done.err
    assert done.out.split("\t")[1] == "success"
