"""Turn the errors of automations into failures of the task: without a retry if it can't help, and without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from include.tarefas.errors import AutomationError, CatalogError


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors that only a person can fix into a failure without retries. Other errors are retried."""
    from airflow.sdk.exceptions import AirflowFailException

    try:
        yield
    except CatalogError:
        raise  # another worker may have the folder mounted
    except AutomationError as error:
        failure = AirflowFailException(str(error))
        failure.about = getattr(error, "about", None)  # type: ignore[attr-defined]
        raise failure from None
