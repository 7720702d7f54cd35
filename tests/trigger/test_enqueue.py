"""`enqueue`: the ways to give a payload, the calls refused before any request, and an API without the service."""

from __future__ import annotations

import json

import pytest

from tests.trigger.faulty import answer
from tests.trigger.script import Script, assert_refused, enqueue_refused

HELLO = "hello_world.send_hello_world"
PAYLOAD = {"name": "Ana -v", "more": [1, -5]}
TEXT = json.dumps(PAYLOAD)
PLANNED = ("--dry-run", "-o", "json")


@pytest.fixture(scope="module")
def planned(script: Script) -> dict[str, dict[str, object]]:
    """The request that each way of calling would send."""
    (script.path.parent / "payload.json").write_text(TEXT)
    (script.path.parent / "list.json").write_text("[1, 2]")
    call = ("enqueue", HELLO)
    calls = dict(
        string=(*call, TEXT, *PLANNED),
        # As a shell splits an object without quotes, with words that look like options.
        tokens=(*call, *TEXT.split(), *PLANNED),
        tokens_last=("enqueue", *PLANNED, HELLO, *TEXT.split()),
        tokens_between=("enqueue", *PLANNED, HELLO, "--note", "{x", *TEXT.split(), "--queue", "low"),
        dashes=(*call, *PLANNED, "--", TEXT),
        at_file=(*call, "@payload.json", *PLANNED),
        file=(*call, "-f", "payload.json", *PLANNED),
        sets=(*call, "--set", "name=Ana -v", "--set", "more=[1, -5]", *PLANNED),
        on_top=(*call, '{"name": "Rui"}', "--set", "name=Ana -v", "--set", "more=[1, -5]", *PLANNED),
        before=(*PLANNED, "--url", script.environment["AIRFLOW_API_URL"], *call, TEXT),
        none=(*call, *PLANNED),
        list=(*call, "-f", "list.json", "--set", "more=3", *PLANNED),
        later=(*call, "--delay", "2h10m20s", "--run-id", "mine", "--queue", "high", *PLANNED),
    )
    done = {name: script(*call) for name, call in calls.items()}
    done["stdin"] = script(*call, "-f", "-", *PLANNED, stdin=TEXT)
    done["stdin_word"] = script(*call, "-", *PLANNED, stdin=TEXT)
    assert {name: one.err for name, one in done.items() if one.code != 0} == {}
    return {name: one.json() for name, one in done.items()}


@pytest.mark.parametrize(
    "way",
    [
        *("string", "tokens", "tokens_last", "tokens_between", "dashes", "at_file", "file"),
        *("sets", "on_top", "before", "stdin", "stdin_word"),
    ],
)
def test_a_payload_can_be_given_in_many_ways(planned, way):
    body = planned[way]["body"]
    assert planned[way]["url"].endswith("/scheduler/queue-task")
    assert (body["tarefa"], body["args"], body["kwargs"]) == (HELLO, [], PAYLOAD)
    assert body["run_id"].startswith(f"{HELLO}__20")


def test_no_payload_a_list_and_a_delay(planned):
    assert len({one["body"]["run_id"] for one in planned.values()}) == len(planned)
    assert (planned["none"]["body"]["args"], planned["none"]["body"]["kwargs"]) == ([], {})
    assert (planned["list"]["body"]["args"], planned["list"]["body"]["kwargs"]) == ([1, 2], {"more": 3})
    assert planned["tokens_between"]["body"]["note"] == "{x"
    assert planned["tokens_between"]["body"]["queue"] == "low"
    assert planned["later"]["url"].endswith("/scheduler/schedule-task")
    assert planned["later"]["body"] == {
        **{"tarefa": HELLO, "args": [], "kwargs": {}, "run_id": "mine", "queue": "high"},
        **{"hours": 2, "minutes": 10, "seconds": 20},
    }


REFUSED = {
    "syntax": ((HELLO, '{"name": \n oops}'), ["payload is not JSON", "line 2, column 2"]),
    "quotes": ((HELLO, "{name:", "Ana}"), ["take the quotes away", "--set", "-f payload.json"]),
    "words": ((HELLO, "Ana", "Maria"), ["payload is not JSON", "line 1, column 1"]),
    "string": ((HELLO, '"Ana"'), ["a string", "JSON object", "list"]),
    "twins": ((HELLO, '{"name": "a", "name": "b"}'), ["'name'", "twice"]),
    "two": ((HELLO, "{}", "-f", "payload.json"), ["--file", "one of them"]),
    "no_file": ((HELLO, "-f", "nowhere.json"), ["nowhere.json", "No such file"]),
    "half_a_second": ((HELLO, "--delay", "1.5"), ["1.5 s", "whole number"]),
    "timeout": ((HELLO, "--timeout", "5"), ["--wait", "enqueue --help"]),
    "no_task": ((), ["TASK", "enqueue --help"]),
    "option": ((HELLO, "--cron", "* * * * *"), ["--cron", "enqueue --help"]),
}


@pytest.fixture(scope="module")
def refused(script: Script):
    """The results of refused calls."""
    return enqueue_refused(script, REFUSED)


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_makes_no_sense_is_refused_in_one_line(refused, name):
    assert_refused(refused[name], REFUSED[name][1])


@pytest.mark.parametrize(
    "fault",
    [
        answer(405, '{"detail": "Method Not Allowed"}'),
        answer(404, "<html><title>Airflow</title></html>", "text/html"),
        answer(201, "<html><title>Airflow</title></html>", "text/html"),
        answer(201, "{}"),
    ],
    ids=["method", "not_found", "page", "other"],
)
def test_an_api_without_the_service_is_exit_code_5(script, faulty, fault):
    faulty.breaks("POST", "/scheduler/queue-task", fault)
    done = script.having(AIRFLOW_API_URL=faulty.url)("enqueue", HELLO)
    assert (done.code, done.out) == (5, "")
    assert f"is there a service at {faulty.url}/scheduler?" in done.err
