"""How the mirror's errors end a task: at once where a retry can't help, with the message and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from include.mirror.errors import (
    ConfigurationError,
    MirrorError,
    RequestError,
    SchemaError,
    ValueNotHeldError,
)


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors that only a person can mend into a failure without retries; let the others be retried.

    A driver's error in the middle of a run, such as a server that restarts, becomes one line as well.
    """
    import clickhouse_connect.driver.exceptions
    import psycopg
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    try:
        yield
    except (ConfigurationError, RequestError, SchemaError, ValueNotHeldError) as error:
        raise AirflowFailException(str(error)) from None
    except MirrorError as error:
        raise AirflowException(str(error)) from None
    except psycopg.Error as error:
        raise AirflowException(f"PostgreSQL: {' '.join(str(error).split())}") from None
    except clickhouse_connect.driver.exceptions.Error as error:
        raise AirflowException(f"ClickHouse: {' '.join(str(error).split())}") from None
