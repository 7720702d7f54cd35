"""When two calls of an automation are equal, in each form in which a run stores them. Without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trigger.calls import same_delay, stored, unified
from trigger.model import Run
from trigger.request import RunRequest

TASKS = ["mail.send", "mail.ping", "tools.ping"]
SEND = stored("mail.send", ["ana"], {}, "default")
MADE = datetime(2026, 1, 1, tzinfo=UTC)
DELAY = timedelta(minutes=10)


@pytest.mark.parametrize(
    "conf",
    [
        SEND,
        {"tarefa": "mail.send", "args": ["ana"]},
        {"tarefa": "send", "args": ["ana"]},
        {"module": "mail", "function": "send", "args": ["ana"], "kwargs": {}, "queue": "default"},
        {"tarefa": "send", "module": None, "function": None, "args": ["ana"], "kwargs": None, "queue": None},
    ],
    ids=str,
)
def test_all_shapes_of_a_call_become_one(conf: dict[str, Any]) -> None:
    before = dict(conf)
    assert unified(conf, lambda: TASKS) == SEND
    assert conf == before


@pytest.mark.parametrize(
    ("conf", "changed"),
    [
        ({"tarefa": "ping"}, {"tarefa": "ping"}),
        ({"tarefa": "gone"}, {"tarefa": "gone"}),
        ({"tarefa": 5}, {"tarefa": 5}),
        ({"module": "mail"}, {"module": "mail"}),
        ({"module": "mail", "function": 5}, {"module": "mail", "function": 5}),
        (
            {"module": "mail", "function": "send", "tarefa": "mail.send"},
            {"module": "mail", "function": "send"},
        ),
        ({"tarefa": "mail.send", "more": 1}, {"more": 1}),
        ({}, {}),
        (None, {}),
    ],
    ids=str,
)
def test_what_is_no_call_stays_as_different_as_it_is(conf: Any, changed: dict[str, Any]) -> None:
    unity = unified(conf, lambda: TASKS)
    assert unity == {
        "tarefa": (conf or {}).get("tarefa", ""),
        "args": [],
        "kwargs": {},
        "queue": "default",
        **changed,
    }


def test_the_automations_are_asked_for_only_where_a_name_is_short() -> None:
    def never() -> list[str]:
        raise AssertionError("asked for")

    unified(SEND, never)
    unified({"module": "mail", "function": "send"}, never)
    with pytest.raises(AssertionError, match="asked for"):
        unified({"tarefa": "send"}, never)


@pytest.mark.parametrize(
    ("delay", "run_after", "same"),
    [
        (timedelta(), MADE, True),
        (timedelta(), MADE - timedelta(seconds=29), True),
        (timedelta(), MADE - timedelta(seconds=31), False),
        (timedelta(), MADE + timedelta(seconds=1), False),
        (DELAY, MADE + DELAY, True),
        (DELAY, MADE + DELAY - timedelta(seconds=29), True),
        (DELAY, MADE + timedelta(minutes=9), False),
        (DELAY, MADE + timedelta(minutes=11), False),
        (DELAY, MADE, False),
    ],
)
def test_a_delay_is_read_from_the_moments_of_the_run(
    delay: timedelta, run_after: datetime, same: bool
) -> None:
    assert same_delay(delay, MADE, run_after) is same


def run(dag_id: str = "executar_tarefa", **fields: Any) -> Run:
    known: dict[str, Any] = dict.fromkeys(Run.__dataclass_fields__)
    known |= {"dag_id": dag_id, "run_id": "mine", "state": "queued", "url": "", "conf": SEND}
    return Run(
        **{**known, "run_after": MADE, "queued_at": MADE, "triggered_by": "rui", "note": "b", **fields}
    )


def differing(run: Run, conf: dict[str, Any], **wish: Any) -> list[str]:
    return RunRequest.make(run.dag_id, conf, run_id="mine", **wish).differing(run, "ana", lambda: TASKS)


def test_a_run_of_an_automation_is_compared_as_the_service_does() -> None:
    asked = {"module": "mail", "function": "send", "args": ["ana"]}
    assert differing(run(), asked, note="a") == []
    assert differing(run(conf={"tarefa": "send", "args": ["ana"]}), asked) == []
    assert differing(run(), {**asked, "args": ["rui"]}) == ["conf"]
    assert differing(run(conf=stored("mail.send", [1], {}, "low")), {**asked, "args": [True]}) == ["conf"]
    assert differing(run(), asked, delay=DELAY) == ["delay"]
    assert differing(run(run_after=MADE + DELAY), asked, delay=DELAY) == []
    assert differing(run(run_after=MADE + DELAY), asked) == ["delay"]
    assert differing(run(run_after=MADE + DELAY), asked, run_after=MADE + DELAY) == []
    assert differing(run(), asked, run_after=MADE + DELAY) == ["run after"]
    # The run was cleared later, so the time of its creation is unknown.
    cleared = run(run_after=MADE + DELAY, queued_at=MADE + 2 * DELAY)
    assert differing(cleared, asked, delay=DELAY) == differing(cleared, asked) == []


def test_of_another_dag_every_wish_and_the_user_count() -> None:
    asked = {"tarefa": "send"}
    there = run("other", conf={"tarefa": "mail.send"}, run_after=MADE + DELAY)
    assert differing(there, asked, note="a") == ["conf", "note", "user"]
    assert differing(run("other", conf=asked, triggered_by="Ana"), asked, delay=DELAY) == []
