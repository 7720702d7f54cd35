"""What the service answers to a call, and what it asks of Airflow."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from include.tarefas.api.middleware import CheckCalls
from tests.include.tarefas.api.conftest import AUTOMATIONS, Airflow
from tests.include.tarefas.files import counting, wait_a_tick

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with")

SEND = {"module": "tools", "function": "send", "kwargs": {"email": "ana@example.com"}}


def test_the_modules_tell_what_can_be_called_and_what_is_broken(viewer: TestClient) -> None:
    broken, tools = viewer.get("/modules").json()
    assert broken["module"] == "broken"
    assert broken["functions"] == []
    assert broken["error"].startswith("line 1: ")
    assert (tools["module"], tools["doc"], tools["error"]) == ("tools", "Mail and sums.", None)
    send, add, _ = tools["functions"]
    assert send["task"] == "tools.send"
    assert send["doc"] == "Send something."
    assert send["parameters"]["required"] == ["email"]
    assert send["parameters"]["properties"]["kind"] == {"enum": ["text", "html"]}
    assert add["signature"] == "add(*numbers: int) -> int"


def test_a_call_becomes_a_run(operator: TestClient, airflow: Airflow, tokens: dict[str, str]) -> None:
    answer = operator.post("/queue-task", json={**SEND, "queue": "low", "note": "for Ana"})
    assert answer.status_code == 201
    told = answer.json()
    assert told["message"] == "task enqueued on low queue."
    assert told["task"] == "tools.send"
    [asked] = airflow.asked
    assert asked["dag_run_id"] == told["run_id"]
    assert told["run_id"].startswith("tools.send__")
    assert told["links"]["run"].endswith(f"/api/v2/dags/executar_tarefa/dagRuns/{told['run_id']}")
    assert told["links"]["ui"].endswith(f"/dags/executar_tarefa/runs/{told['run_id']}")
    assert asked["conf"] == {
        **{"tarefa": "tools.send", "args": [], "kwargs": {"email": "ana@example.com"}, "queue": "low"},
    }
    assert (asked["note"], asked["logical_date"]) == ("for Ana", None)
    assert airflow.tokens == [f"Bearer {tokens['olga']}"], "with the caller's own rights"


def test_a_call_may_name_its_task_and_its_run(operator: TestClient, airflow: Airflow) -> None:
    call = {"tarefa": "add", "args": [1, 2], "run_id": "mine:1"}
    told = operator.post("/queue-task", json=call).json()
    assert (told["task"], told["run_id"], told["queue"]) == ("tools.add", "mine:1", "default")
    assert airflow.asked[0]["conf"] == {
        **{"tarefa": "tools.add", "args": [1, 2], "kwargs": {}, "queue": "default"},
    }


def test_a_call_parses_nothing_while_no_file_changes(
    operator: TestClient,
    airflow: Airflow,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole way: the route, the check before Airflow's API, and the answer about a run that is there already."""
    in_front = CheckCalls(airflow.app())
    monkeypatch.setitem(sys.modules, "airflow.api_fastapi.main", SimpleNamespace(app=in_front))
    parsed = counting(monkeypatch)
    wait_a_tick(monkeypatch)
    assert operator.post("/queue-task", json=SEND).status_code == 201
    assert sorted(parsed) == ["broken", "tools"], "once each, and not three times"
    parsed.clear()
    for path, more in (("/queue-task", {}), ("/schedule-task", {"hours": 1})):
        assert operator.post(path, json={**SEND, **more}).status_code == 201
    airflow.status = 409
    assert operator.post("/queue-task", json=SEND).status_code == 409
    assert operator.get("/modules").status_code == 200
    assert parsed == []
    (folder / "tools.py").write_text(AUTOMATIONS.replace("subject", "title"))
    wait_a_tick(monkeypatch)
    airflow.status = 200
    renamed = {**SEND, "kwargs": {"email": "ana@example.com", "title": "Hi"}}
    assert operator.post("/queue-task", json=renamed).status_code == 201
    assert parsed == ["tools"]


def test_no_two_calls_draw_the_same_run_id(operator: TestClient, airflow: Airflow) -> None:
    drawn = {operator.post("/queue-task", json=SEND).json()["run_id"] for _ in range(20)}
    assert len(drawn) == 20


@pytest.mark.parametrize(
    ("time", "in_words", "delay"),
    [
        (
            {"hours": 2, "minutes": 10, "seconds": 20},
            "2 Hours, 10 Minutes and 20 Seconds",
            timedelta(hours=2, minutes=10, seconds=20),
        ),
        ({"hours": 1, "minutes": 1, "seconds": 1}, "1 Hour, 1 Minute and 1 Second", timedelta(seconds=3661)),
        ({"seconds": 90}, "90 Seconds", timedelta(seconds=90)),
        ({"hours": 2, "seconds": 1}, "2 Hours and 1 Second", timedelta(hours=2, seconds=1)),
        ({"hours": 0, "minutes": 5}, "5 Minutes", timedelta(minutes=5)),
        ({"hours": 87600}, "87600 Hours", timedelta(days=3650)),
        # As in the older service.
        ({}, "0 Seconds", timedelta()),
        ({"seconds": 0, "hours": 0}, "0 Seconds", timedelta()),
    ],
    ids=str,
)
def test_a_call_for_later_waits_by_its_run_after(
    operator: TestClient, airflow: Airflow, time: dict[str, int], in_words: str, delay: timedelta
) -> None:
    answer = operator.post("/schedule-task", json={**SEND, **time})
    assert answer.status_code == 201, answer.text
    assert answer.json()["message"] == f"task scheduled for {in_words} from now on default queue."
    after = datetime.fromisoformat(airflow.asked[0]["run_after"])
    assert timedelta() <= datetime.now(UTC) + delay - after < timedelta(seconds=10)
    assert datetime.fromisoformat(answer.json()["run_after"]) == after
    assert not set(airflow.asked[0]["conf"]) & {"seconds", "minutes", "hours"}


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (
            {"hours": 87600, "seconds": 1},
            "together must be at most 3650 days, and are 87600 Hours and 1 Second",
        ),
        ({"seconds": -1}, "seconds should be greater than or equal to 0, and is -1"),
        ({"seconds": 1.5}, "seconds should be a valid integer"),
        ({"seconds": 1.0}, "seconds should be a valid integer"),
        ({"seconds": "20"}, 'seconds should be a valid integer, and is "20"'),
        ({"minutes": True}, "minutes should be a valid integer, and is true"),
        ({"hours": None}, "hours should be a valid integer, and is null"),
        ({"hours": [1]}, "hours should be a valid integer, and is [1]"),
        ({"hours": 10**9}, "hours should be less than or equal to 315360000"),
        ({"seconds": 10**400}, "seconds should be"),
        ({"days": 1}, 'there is no field "days"'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_time_that_makes_no_sense_is_refused(
    operator: TestClient, airflow: Airflow, time: dict[str, Any], said: str
) -> None:
    answer = operator.post("/schedule-task", json={**SEND, **time})
    assert answer.status_code == 422
    assert said in answer.json()["message"]
    assert airflow.asked == []


def test_an_error_of_several_fields_is_one_sentence(operator: TestClient) -> None:
    answer = operator.post("/schedule-task", json={**SEND, "hours": 100_000})
    assert answer.json() == {
        "message": "seconds, minutes and hours together must be at most 3650 days, and are 100000 Hours"
    }


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({}, "say which automation"),
        ({"module": "tools"}, "function is missing"),
        ({"module": "tool", "function": "send"}, "did you mean tools?"),
        ({"module": "os", "function": "system", "args": ["true"]}, 'there is no module "os"'),
        ({"module": "../tools", "function": "send"}, "there is no module"),
        ({"module": "tools", "function": "__import__"}, "has no tarefa"),
        ({"module": "broken", "function": "f"}, "can't be read: line 1"),
        ({"tarefa": "sent"}, "did you mean send?"),
        ({"tarefa": "send", "module": "tools"}, "give either tarefa, or module and function"),
        ({"tarefa": "send"}, "missing a required argument: 'email'; it is send(email: str"),
        ({**SEND, "args": ["a", "b", "c"]}, "multiple values for argument 'email'"),
        ({**SEND, "kwargs": {"email": 1}}, "email must be str, not 1"),
        ({**SEND, "kwargs": {"email": "a", "kind": "png"}}, 'not "png"'),
        ({**SEND, "kwargs": []}, "kwargs should be a valid dictionary"),
        ({**SEND, "args": {}}, "args should be a valid list"),
        ({**SEND, "queue": "urgent"}, "queue should be 'high', 'default' or 'low', and is \"urgent\""),
        ({**SEND, "run_id": "a b"}, "run_id "),
        ({**SEND, "run_id": ""}, "run_id "),
        ({**SEND, "run_id": "a\n"}, "run_id "),
        ({**SEND, "run_id": "a" * 201}, "run_id "),
        ({**SEND, "note": "a" * 1001}, "note "),
        ({**SEND, "note": "a\x00b"}, "note "),
        ({**SEND, "modul": "x"}, 'there is no field "modul"'),
        ({"tarefa": "add", "args": [1, "x" * 150_000]}, "100,000"),
        ({"tarefa": "send", "args": ["\x00"]}, "U+0000"),
        ({"tarefa": "send", "args": ["\ud800"]}, "half a character"),
        ({"\ud800": 1}, "the body should be a valid string"),
        ("text", "the body should be"),
        ([1], "the body should be"),
        (None, "the body is missing"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_call_says_what_would_be_right(
    operator: TestClient, airflow: Airflow, call: Any, said: str
) -> None:
    sent = {"content": json.dumps(call), "headers": {"Content-Type": "application/json"}}
    answer = operator.post("/queue-task", **sent)
    assert answer.status_code == 422
    assert set(answer.json()) == {"message"}
    assert said in answer.json()["message"]
    assert airflow.asked == []


def nested(depth: int) -> bytes:
    """Return a call whose conf is so deep at its deepest: two levels are its own."""
    return b'{"tarefa": "keep", "args": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_a_deep_call_is_kept_as_far_as_airflow_can_show_it(operator: TestClient, airflow: Airflow) -> None:
    headers = {"Content-Type": "application/json"}
    assert operator.post("/queue-task", content=nested(100), headers=headers).status_code == 201
    refused = operator.post("/queue-task", content=nested(101), headers=headers)
    assert refused.status_code == 422
    assert "nested more than 100 deep" in refused.json()["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b'{"tarefa": "add", "args": [NaN]}', 422),
        (b'{"tarefa": "add", "args": [1e999]}', 422),
        (b'{"tarefa": "add", "args": [' + b"1" * 5000 + b"]}", 400),
        (b'{"tarefa": "send", "args": ["\xff"]}', 400),
        (nested(101), 422),
        (nested(100_000), 400),
        (b'{"note": "' + b"a" * 1_000_000 + b'"}', 413),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_body_that_is_no_good_json_is_refused(
    operator: TestClient, airflow: Airflow, body: bytes, status: int
) -> None:
    answer = operator.post("/queue-task", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"message"}
    assert status != 400 or "can't be read as JSON" in answer.json()["message"]
    assert airflow.asked == []


def test_a_form_is_not_read(operator: TestClient, airflow: Airflow) -> None:
    text = json.dumps(SEND)
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = operator.post("/queue-task", content=text, headers={"Content-Type": kind})
        assert answer.status_code == 422
        assert "Content-Type: application/json" in answer.json()["message"]
    assert airflow.asked == []


def test_any_language_is_kept(operator: TestClient, airflow: Airflow) -> None:
    call = {"tarefa": "send", "args": ["ação 🚀 \u202e"], "note": "não é só ASCII"}
    assert operator.post("/queue-task", json=call).status_code == 201
    assert airflow.asked[0]["conf"]["args"] == call["args"]
    assert airflow.asked[0]["note"] == call["note"]


@pytest.mark.parametrize(
    ("status", "detail", "answered", "said"),
    [
        (401, "Token Expired", 401, "Token Expired"),
        (403, "Forbidden", 403, "Forbidden"),
        (400, "A manual DAG run cannot use ID 'scheduled__1'", 422, "cannot use ID"),
        (422, [{"msg": "no"}], 422, "no"),
        (404, "Dag not found", 503, "has not read the DAG executar_tarefa yet"),
        (500, {"reason": "secret statement"}, 503, "it answered 500"),
    ],
)
def test_what_airflow_refuses_is_passed_on(
    operator: TestClient, airflow: Airflow, status: int, detail: Any, answered: int, said: str
) -> None:
    airflow.status, airflow.detail = status, detail
    answer = operator.post("/queue-task", json=SEND)
    assert answer.status_code == answered
    assert said in answer.json()["message"]
    assert "statement" not in answer.text


def test_without_its_folder_the_service_says_so(
    operator: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOMACOES_MODULES_PATH", "/nowhere")
    for answer in (operator.get("/modules"), operator.post("/queue-task", json=SEND)):
        assert answer.status_code == 503
        assert "AUTOMACOES_MODULES_PATH" in answer.json()["message"]


def test_other_paths_and_methods_are_answered_in_the_same_way(operator: TestClient) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("PUT", "/queue-task", 405),
        ("GET", "/modules/", 404),
    ):
        answer = operator.request(method, path)
        assert answer.status_code == status
        assert set(answer.json()) == {"message"}


def test_a_wrong_method_is_told_all_right_ones(operator: TestClient) -> None:
    assert operator.post("/clean-queue").headers["Allow"] == "DELETE, GET"
    assert operator.get("/queue-task").headers["Allow"] == "POST"


@pytest.mark.parametrize("query", ["que=low", "queue=urgent", "queue=", "scheduled=maybe", "queue=low&x=1"])
def test_a_query_that_would_mean_all_queues_by_mistake_is_refused(operator: TestClient, query: str) -> None:
    for method in ("GET", "DELETE"):
        answer = operator.request(method, f"/clean-queue?{query}")
        assert answer.status_code == 422
        assert set(answer.json()) == {"message"}
