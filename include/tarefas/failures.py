"""How errors of automations end a task: at once where a retry can't help, with the message and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from include.tarefas.errors import AutomationError, CatalogError


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors that only a person can mend into a failure without retries; let the others be retried."""
    from airflow.sdk.exceptions import AirflowFailException

    try:
        yield
    except CatalogError:
        raise  # a folder that is not mounted on this worker may be on another
    except AutomationError as error:
        failure = AirflowFailException(str(error))
        failure.about = getattr(error, "about", None)  # type: ignore[attr-defined]
        raise failure from None
