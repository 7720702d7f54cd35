"""What is retried, what is not, and what alerts are told that it was about."""

from __future__ import annotations

from functools import partial

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.conventions.errors import TaskError
from include.conventions.failures import about, concerning, explained
from include.tarefas.errors import CatalogError, RequestError, ResultError


@partial(explained, drivers=False)
def fail(error: Exception) -> None:
    """End as the task of an automation does."""
    raise error


@pytest.mark.parametrize("kind", [RequestError, ResultError])
def test_what_a_person_has_to_mend_is_not_tried_again(kind: type[TaskError]) -> None:
    with pytest.raises(AirflowFailException, match=r"^wrong$") as failure:
        fail(concerning("mail.send_email", kind("wrong")))
    assert about(failure.value) == "mail.send_email"


def test_a_folder_that_is_not_there_may_be_there_on_another_worker() -> None:
    with pytest.raises(AirflowException, match=r"^away$") as failure:
        fail(CatalogError("away"))
    assert not isinstance(failure.value, AirflowFailException)


@pytest.mark.parametrize(
    "error", [ConnectionError("refused"), ValueError("x"), psycopg.OperationalError("gone")]
)
def test_anything_else_is_tried_again_and_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)) as failure:
        fail(error)
    assert failure.value is error
