"""How a task ends by what it raised: retried or not, in one line, and a defect with its traceback."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import psycopg
import pymysql
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from botocore.exceptions import ClientError
from clickhouse_connect.driver.exceptions import DatabaseError

from include.conventions.errors import RequestError
from include.conventions.failures import about, concerning, explained
from include.loja.errors import SourceError


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (RequestError("inicio is 5"), AirflowFailException, "inicio is 5"),
        (SourceError("no privilege"), AirflowException, "no privilege"),
        (
            pymysql.OperationalError(1205, "Lock wait\ntimeout"),
            AirflowException,
            "MySQL: 1205 Lock wait timeout",
        ),
        (psycopg.errors.AdminShutdown("going\n down"), AirflowException, "PostgreSQL: going down"),
        (psycopg.errors.UniqueViolation("there"), AirflowException, "PostgreSQL: there"),
        (psycopg.errors.UndefinedTable("no such table"), AirflowFailException, "PostgreSQL: no such table"),
        (psycopg.OperationalError(), AirflowException, "PostgreSQL: OperationalError"),
        (DatabaseError("Memory limit", code=241), AirflowException, "ClickHouse: Memory limit"),
        (DatabaseError("Unknown table", code=60), AirflowFailException, "ClickHouse: Unknown table"),
        (
            ClientError({"Error": {"Code": "SlowDown"}}, "PutObject"),
            AirflowException,
            "AWS: An error occurred",
        ),
    ],
)
def test_what_is_expected_is_one_line(error: Exception, kind: type[Exception], text: str) -> None:
    @explained
    def work() -> None:
        raise error

    with pytest.raises(AirflowException) as ended:
        work()
    assert type(ended.value) is kind
    assert str(ended.value).startswith(text)
    assert "\n" not in str(ended.value)
    assert ended.value.__suppress_context__


@pytest.mark.parametrize("error", [KeyError("x"), AirflowSkipException("later")])
def test_anything_else_is_raised_as_it_is(error: Exception) -> None:
    @explained
    def work() -> None:
        raise error

    with pytest.raises(type(error)) as ended:
        work()
    assert ended.value is error


def test_what_an_error_is_about_is_kept_for_its_alert() -> None:
    error = concerning("a, b", RequestError("two jobs are wrong"))

    @explained
    def work() -> None:
        raise error

    with pytest.raises(AirflowFailException) as ended:
        work()
    assert about(ended.value) == "a, b"


def test_a_generator_stays_one() -> None:
    @explained
    def work(count: int) -> Iterator[int]:
        """Count."""
        yield count
        raise RequestError("no more")

    assert inspect.isgeneratorfunction(work)
    assert (work.__name__, work.__doc__) == ("work", "Count.")
    values = work(3)
    assert next(values) == 3
    with pytest.raises(AirflowFailException, match="no more"):
        next(values)


def test_what_a_task_returns_comes_back() -> None:
    @explained
    def work(first: int, second: int = 2) -> int:
        return first + second

    assert list(inspect.signature(work).parameters) == ["first", "second"]
    assert work(1, second=5) == 6
