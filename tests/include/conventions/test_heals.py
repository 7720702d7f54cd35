"""What is tried again, and what fails at the first try: asked of real servers where they have a say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import clickhouse_connect
import psycopg
import pytest
from clickhouse_connect.driver.exceptions import Error as ClickHouseError
from psycopg.conninfo import make_conninfo

from include.conventions.heals import clickhouse_heals, login_heals, postgres_heals
from include.mirror.errors import MirrorError, SourceError, SourceUnavailableError
from include.mirror.source.session import Source
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from local.servers.server import free_port


@pytest.mark.parametrize(
    ("changes", "heals"),
    [
        ({"password": "wrong"}, False),
        ({"user": "nobody"}, False),
        ({"dbname": "nowhere"}, False),
        ({"host": "no-such-host.invalid"}, False),
        ({"port": free_port()}, True),
    ],
)
def test_a_login_that_stays_wrong_is_not_tried_again(postgres: Postgres, changes: dict, heals: bool) -> None:
    source = Source(make_conninfo(postgres.dsn(), **changes), ZoneInfo("UTC"), name="postgres_loja")
    with (
        pytest.raises(SourceError, match=r"\(connection postgres_loja\) refused") as refused,
        source.connect(),
    ):
        pass
    assert refused.value.heals is heals
    assert isinstance(refused.value, SourceUnavailableError) is heals
    assert postgres.password not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "heals"),
    [
        ("failed to resolve host 'x': [Errno -2] Name or service not known", False),
        ("failed to resolve host 'x': [Errno -3] Temporary failure in name resolution", True),
        ("connection to server at … failed: FATAL: the database system is starting up", True),
        ("connection timeout expired", True),
        ("server does not support SSL, but SSL was required", False),
        ("SSL error: certificate verify failed", False),
        ('server certificate for "db.example.com" does not match host name "127.0.0.1"', False),
        ('root certificate file "/etc/ssl/ca.pem" does not exist', False),
        ('no pg_hba.conf entry for host "10.0.0.1", user "a", database "b", no encryption', False),
        ("FATAL: sorry, too many clients already", True),
    ],
)
def test_what_a_refused_login_says(text: str, heals: bool) -> None:
    assert login_heals(text) is heals


@pytest.mark.parametrize(
    ("state", "heals"),
    [
        ("40P01", True),
        ("57P01", True),
        ("55P03", True),
        ("53300", True),
        ("42P01", False),
        ("42501", False),
        ("22P02", False),
    ],
)
def test_what_postgres_says_in_a_session(state: str, heals: bool) -> None:
    assert postgres_heals(psycopg.errors.lookup(state)("")) is heals


def test_a_session_that_was_ended_heals(postgres: Postgres) -> None:
    source = replace(Source(postgres.dsn(), ZoneInfo("UTC")), timeout=timedelta(minutes=1))
    with source.connect() as connection, psycopg.connect(postgres.dsn(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        with pytest.raises(psycopg.Error) as ended:
            connection.execute("SELECT 1")
    assert postgres_heals(ended.value)


@pytest.mark.parametrize(
    ("changes", "heals"),
    [
        ({"password": "wrong"}, False),
        ({"database": "nowhere"}, False),
        ({"host": "no-such-host.invalid"}, False),
        ({"port": free_port()}, True),
    ],
)
def test_the_same_of_clickhouse(clickhouse: ClickHouse, changes: dict, heals: bool) -> None:
    address = {
        "host": "127.0.0.1",
        "port": clickhouse.port,
        "username": clickhouse.user,
        "password": clickhouse.password,
        **changes,
    }
    with pytest.raises(ClickHouseError) as refused:
        clickhouse_connect.get_client(**address).query("SELECT 1")
    assert clickhouse_heals(refused.value) is heals


@pytest.mark.parametrize(
    ("statement", "heals"),
    [("SELECT * FROM nowhere.nothing", False), ("SELEC 1", False), ("SELECT throwIf(1)", True)],
)
def test_what_clickhouse_says_in_a_session(clickhouse: ClickHouse, statement: str, heals: bool) -> None:
    with pytest.raises(ClickHouseError) as refused:
        clickhouse.client().query(statement)
    assert clickhouse_heals(refused.value) is heals


def test_each_class_of_error_says_whether_it_heals() -> None:
    healing = {
        one.__name__ for one in MirrorError.__subclasses__() + SourceError.__subclasses__() if one.heals
    }
    assert healing == {"RebuiltError", "SourceUnavailableError", "VerificationError", "VersionError"}
