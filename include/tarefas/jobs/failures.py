"""Turn the errors of a tick into failures of the task: without a retry if a person must act, otherwise with retries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from include.tarefas.jobs.client import UnusableError
from include.tarefas.jobs.start import BadJobsError, SilenceError
from include.tarefas.jobs.store import AwayError


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors into failures of the task with a one-line message. The alert about bad jobs is grouped by their names."""
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    try:
        yield
    except BadJobsError as error:
        failure = AirflowFailException(str(error))
        failure.about = ", ".join(sorted(error.jobs))  # type: ignore[attr-defined]
        raise failure from None
    except (AwayError, SilenceError, UnusableError) as error:
        raise AirflowException(str(error)) from None
