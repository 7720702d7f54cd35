"""The error that a run of executar_tarefa leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from include.tarefas import reasons


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
        reasons.left(fail)(error)
    assert raised.value is error
    assert instance.pushed == {"error": "no such customer"}


def test_so_is_that_of_a_timeout(instance: Instance) -> None:
    from airflow.sdk.exceptions import AirflowTaskTimeout

    with pytest.raises(AirflowTaskTimeout):
        reasons.left(fail)(AirflowTaskTimeout("Timeout, PID: 1"))
    assert instance.pushed["error"].endswith("AirflowTaskTimeout: Timeout, PID: 1")


def test_an_error_that_can_not_be_left_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.sdk.get_current_context", lambda: fail(RuntimeError("no context")))
    with pytest.raises(ValueError, match="wrong"):
        reasons.left(fail)(ValueError("wrong"))


def test_a_result_leaves_none(instance: Instance) -> None:
    assert reasons.left(lambda value: value)(5) == 5
    assert instance.pushed == {}
