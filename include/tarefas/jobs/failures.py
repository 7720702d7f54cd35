"""How a tick ends in failure: what a person has to mend fails at once and is told, what may heal is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from include.tarefas.jobs.client import UnusableError
from include.tarefas.jobs.start import BadJobsError, SilenceError
from include.tarefas.jobs.store import AwayError


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors into failures of the task, in one line each; the alert of bad jobs names them as what it is about."""
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    try:
        yield
    except BadJobsError as error:
        failure = AirflowFailException(str(error))
        failure.about = ", ".join(sorted(error.jobs))  # type: ignore[attr-defined]
        raise failure from None
    except (AwayError, SilenceError, UnusableError) as error:
        raise AirflowException(str(error)) from None
