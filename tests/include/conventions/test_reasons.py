"""The error that a failed task leaves behind."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from include.conventions.errors import RequestError
from include.conventions.failures import explained
from include.conventions.reasons import Reason


class Instance:
    """A task instance that keeps its XComs."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Instance:
    """The task instance of the task that runs."""
    instance = Instance()
    monkeypatch.setattr("airflow.sdk.get_current_context", lambda: {"ti": instance})
    return instance


def fail(error: BaseException) -> None:
    raise error


def test_the_last_line_of_the_error_is_left_and_the_error_stays(instance: Instance) -> None:
    error = ValueError("first\nno such\0 customer")
    with pytest.raises(ValueError, match="no such") as raised:
        explained(fail)(error)
    assert raised.value is error
    assert instance.pushed == {"error": "no such customer"}


def test_so_is_that_of_a_timeout(instance: Instance) -> None:
    from airflow.sdk.exceptions import AirflowTaskTimeout

    with pytest.raises(AirflowTaskTimeout):
        explained(fail)(AirflowTaskTimeout("Timeout, PID: 1"))
    assert instance.pushed["error"].endswith("AirflowTaskTimeout: Timeout, PID: 1")


def test_an_error_that_can_not_be_left_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.sdk.get_current_context", lambda: fail(RuntimeError("no context")))
    with pytest.raises(ValueError, match="wrong"):
        explained(fail)(ValueError("wrong"))


def test_a_refusal_is_left_as_airflow_ends_it_and_shown_without_its_class(instance: Instance) -> None:
    with pytest.raises(Exception, match="inicio is missing"):
        explained(fail)(RequestError("inicio is missing"))
    left = Reason("d", "r", "t", -1, instance.pushed["error"])
    assert left.text.endswith("AirflowFailException: inicio is missing")
    assert left.plain == "inicio is missing"
    assert Reason("d", "r", "t", -1, "ValueError: no such row").plain == "ValueError: no such row"


def test_a_task_that_asks_to_be_skipped_leaves_none(instance: Instance) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException):
        explained(fail)(AirflowSkipException("nothing to do"))
    assert instance.pushed == {}


def test_a_generator_leaves_its_error_and_none_when_it_is_closed(instance: Instance) -> None:
    def work(*, fails: bool) -> Generator[int]:
        yield 1
        if fails:
            raise ValueError("too late")

    for _ in explained(work)(fails=False):
        pass
    explained(work)(fails=False).close()
    started = explained(work)(fails=True)
    next(started)
    started.close()
    assert instance.pushed == {}
    with pytest.raises(ValueError, match="too late"):
        list(explained(work)(fails=True))
    assert instance.pushed == {"error": "ValueError: too late"}


def test_a_result_leaves_none(instance: Instance) -> None:
    assert explained(lambda value: value)(5) == 5
    assert instance.pushed == {}
