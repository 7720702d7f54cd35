"""How the store's errors end a task: at once where a retry can't help, with the message and no more."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from include.loja.errors import NOT_RETRIED, StoreError


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors that only a person can mend into a failure without retries; let the others be retried.

    A driver's error, such as that of a server that restarts, becomes one line as well.
    """
    import boto3.exceptions
    import botocore.exceptions
    import psycopg
    import pymysql
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    try:
        yield
    except NOT_RETRIED as error:
        raise AirflowFailException(str(error)) from None
    except StoreError as error:
        raise AirflowException(str(error)) from None
    except pymysql.MySQLError as error:
        raise AirflowException(f"MySQL: {' '.join(map(str, error.args))}") from None
    except psycopg.Error as error:
        raise AirflowException(f"warehouse: {' '.join(str(error).split())}") from None
    except _redshift() as error:
        raise AirflowException(f"warehouse: {' '.join(str(error).split())}") from None
    except (
        botocore.exceptions.BotoCoreError,
        botocore.exceptions.ClientError,
        boto3.exceptions.Boto3Error,
    ) as error:
        raise AirflowException(f"S3: {error}") from None


def _redshift() -> tuple[type[Exception], ...]:
    """Return the error class of Redshift's driver, if the task has loaded that at all."""
    driver = sys.modules.get("redshift_connector")
    return () if driver is None else (driver.Error,)
