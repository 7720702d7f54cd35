"""Turns errors into the exceptions that end a task: without retries if a retry can't help, and without a traceback.

    @task
    @explained
    def mirror(batch): …

The project's errors have an attribute `heals`: whether a retry may help. They may have an attribute `about`: the subject of
the alert. An error of a driver, such as that of a server that restarts, becomes one line as well, unless people's own code
uses the driver: `@partial(explained, drivers=False)`. Any other error is a defect and keeps its traceback.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar, cast

from include.conventions.reasons import save

Work = TypeVar("Work", bound=Callable[..., Any])
Raised = TypeVar("Raised", bound=BaseException)

# A driver's package, and the name of its server in messages. Looked up by name, so that no driver is imported for it.
DRIVERS = {
    "pymysql": "MySQL",
    "psycopg": "PostgreSQL",
    "redshift_connector": "Redshift",
    "clickhouse_connect": "ClickHouse",
    "boto3": "AWS",
    "botocore": "AWS",
}


def explained(work: Work, *, drivers: bool = True) -> Work:
    """Decorate a task's function, below `@task`: its errors become the exceptions of `failure`.

    `reasons` saves their last line. Airflow's time limit is no Exception, so it is only saved.
    """
    if inspect.isgeneratorfunction(work):

        @wraps(work)
        def generate(*arguments: Any, **named: Any) -> Iterator[Any]:
            try:
                yield from work(*arguments, **named)
            except GeneratorExit:
                raise
            except BaseException as error:
                ending = failure(error, drivers=drivers) if isinstance(error, Exception) else error
                save(ending)
                if ending is error:
                    raise
                raise ending from None

        return cast(Work, generate)

    @wraps(work)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return work(*arguments, **named)
        except BaseException as error:
            ending = failure(error, drivers=drivers) if isinstance(error, Exception) else error
            save(ending)
            if ending is error:
                raise
            raise ending from None

    return cast(Work, call)


def failure(error: Exception, *, drivers: bool = True) -> Exception:
    """Return the exception that ends the task, which Airflow retries or not; a defect is returned unchanged.

    Without `drivers`, an error of a driver is a defect, too.
    """
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    heals = getattr(error, "heals", None)
    text = str(error)
    if heals is None and drivers and (driver := _driver(error)) is not None:
        heals = _driver_heals(driver, error)
        said = " ".join(" ".join(map(str, error.args)).split())
        text = f"{DRIVERS[driver]}: {said or type(error).__name__}"
    if heals is None:
        return error
    ending = AirflowException(text) if heals else AirflowFailException(text)
    return concerning(about(error), ending)


def concerning(about: str | None, error: Raised) -> Raised:
    """Set an error's `about`, the subject of its alert, and return the error. Some exceptions can't be changed."""
    with suppress(AttributeError):
        error.about = about  # type: ignore[attr-defined]
    return error


def about(error: object) -> str | None:
    """Return an error's `about`, or None."""
    return getattr(error, "about", None)


def _driver(error: Exception) -> str | None:
    packages = (kind.__module__.partition(".")[0] for kind in type(error).__mro__)
    return next((package for package in packages if package in DRIVERS), None)


def _driver_heals(driver: str, error: Any) -> bool:
    """Return whether a driver's error may heal. True for drivers whose errors don't show it."""
    from include.conventions.heals import clickhouse_heals, postgres_heals

    if driver == "psycopg":
        return postgres_heals(error)
    if driver == "clickhouse_connect":
        return clickhouse_heals(error)
    return True
