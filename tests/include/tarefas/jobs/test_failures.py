"""How a tick ends: which failure is tried again, and what an alert will say of it."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.conventions.failures import about, explained
from include.tarefas.jobs import settings
from include.tarefas.jobs.client import UnusableError
from include.tarefas.jobs.start import Report
from include.tarefas.jobs.store import DatabaseUnavailableError


@explained
def end(report: Report) -> dict[str, int]:
    return report.summary()


@explained
def fail(error: Exception) -> None:
    raise error


def test_a_tick_that_did_all_ends_with_its_counts() -> None:
    assert end(Report(started=["a", "b"], there=["c"])) == {"started": 2, "there": 1}


def test_bad_jobs_fail_it_at_once_and_say_what_it_is_about() -> None:
    with pytest.raises(AirflowFailException) as caught:
        end(Report(errors={"b": "no such cron", "a": "no such task"}, away="c: no answer"))
    assert str(caught.value) == ("a, b can't be started. job a: no such task; job b: no such cron")
    assert about(caught.value) == "a, b"


def test_silence_is_tried_again() -> None:
    with pytest.raises(AirflowException, match="c: no answer; it stays due") as caught:
        end(Report(started=["a"], away="c: no answer"))
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("error", [DatabaseUnavailableError("the database"), UnusableError("the password")])
def test_what_a_person_mends_outside_is_one_line(error: Exception) -> None:
    with pytest.raises(AirflowException, match=str(error)) as caught:
        fail(error)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("variable", ["AGENDAR_JOBS_GRACE_SECONDS", "AGENDAR_JOBS_SECONDS"])
@pytest.mark.parametrize("text", ["", "0", "-1", "soon", "1.5", "9" * 30])
def test_a_setting_that_makes_no_sense_names_itself(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValueError, match=f"{variable} is {text!r}; it must be a whole number"):
        settings.load()
