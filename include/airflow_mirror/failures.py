"""How the mirror's errors end a task: at once where a retry can't help, with the message and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from include.mirror.errors import MirrorError


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors that only a person can mend into a failure without retries; let the others be retried.

    A driver's error in the middle of a run, such as a server that restarts, becomes one line as well.
    """
    import clickhouse_connect.driver.exceptions
    import psycopg
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    from include.mirror.heals import clickhouse_heals, postgres_heals

    def failure(heals: bool, text: str) -> Exception:
        return AirflowException(text) if heals else AirflowFailException(text)

    try:
        yield
    except MirrorError as error:
        raise failure(error.heals, str(error)) from None
    except psycopg.Error as error:
        raise failure(postgres_heals(error), f"PostgreSQL: {' '.join(str(error).split())}") from None
    except clickhouse_connect.driver.exceptions.Error as error:
        raise failure(clickhouse_heals(error), f"ClickHouse: {' '.join(str(error).split())}") from None
