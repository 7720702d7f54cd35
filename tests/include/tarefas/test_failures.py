"""What is retried, what is not, and what alerts are told that it was about."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.tarefas.errors import AutomationError, CatalogError, RequestError, ResultError
from include.tarefas.failures import explained


@pytest.mark.parametrize("kind", [RequestError, ResultError])
def test_what_a_person_has_to_mend_is_not_tried_again(kind: type[AutomationError]) -> None:
    error = kind("wrong")
    error.about = "mail.send_email"
    with pytest.raises(AirflowFailException, match=r"^wrong$") as failure, explained():
        raise error
    assert failure.value.about == "mail.send_email"


@pytest.mark.parametrize("error", [CatalogError("away"), ConnectionError("refused"), ValueError("x")])
def test_anything_else_is(error: Exception) -> None:
    with pytest.raises(type(error)) as failure, explained():
        raise error
    assert failure.value is error
