"""The jobs' database: made by whoever may, brought to its version by several at once, and closed to others."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from include.automations.jobs import database
from local.postgres import Postgres

_numbers = itertools.count(1)


@pytest.fixture
def wanted(postgres: Postgres) -> str:
    """A role and a database that are not there yet."""
    name = f"wanted_{next(_numbers)}"
    return make_conninfo(
        host="127.0.0.1", port=postgres.port, user=name, password="p'w \\ç", dbname=f"{name} db"
    )


def prepare(wanted: str, owner: str) -> None:
    with database.alone(owner):
        database.ensure(wanted, owner)
        database.migrate(wanted)


def test_several_at_once_make_it_once(postgres: Postgres, wanted: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: prepare(wanted, postgres.dsn()), range(4)))
    with psycopg.connect(wanted) as connection:
        assert connection.execute("SELECT version_num FROM jobs_version").fetchall() == [(database.head(),)]
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
        found = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        )
        assert found.fetchone() == (False, False, False)


def test_migrations_alone_at_once(postgres: Postgres) -> None:
    postgres.create_database("migrated_at_once")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: database.migrate(postgres.dsn("migrated_at_once")), range(4)))


def test_another_password_is_given_and_data_stay(postgres: Postgres, wanted: str) -> None:
    prepare(wanted, postgres.dsn())
    with psycopg.connect(wanted) as connection:
        connection.execute("INSERT INTO jobs (name, task, cron) VALUES ('a', 'b.c', '* * * * *')")
    other = make_conninfo(wanted, password="another one")
    prepare(other, postgres.dsn())
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT name, missed, enabled FROM jobs").fetchall() == [
            ("a", "once", True)
        ]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wanted)


def test_an_owner_that_is_no_superuser_can_make_it(postgres: Postgres, wanted: str) -> None:
    with psycopg.connect(postgres.dsn(), autocommit=True) as server:
        server.execute("CREATE ROLE modest LOGIN CREATEDB CREATEROLE PASSWORD 'modest'")
        server.execute("CREATE DATABASE modest OWNER modest")
    owner = make_conninfo(postgres.dsn("modest"), user="modest", password="modest")
    prepare(wanted, owner)
    with psycopg.connect(wanted) as connection:
        connection.execute("SELECT * FROM jobs")


def test_a_stranger_does_not_get_in(postgres: Postgres, wanted: str) -> None:
    prepare(wanted, postgres.dsn())
    with psycopg.connect(postgres.dsn(), autocommit=True) as server:
        server.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(make_conninfo(wanted, user="stranger", password="stranger"))


def test_nothing_is_made_on_another_server(postgres: Postgres, wanted: str) -> None:
    elsewhere = make_conninfo(wanted, port=9)
    with pytest.raises(psycopg.OperationalError, match="port 9"):
        database.ensure(elsewhere, postgres.dsn())
    with psycopg.connect(postgres.dsn()) as server:
        made = server.execute(
            "SELECT 1 FROM pg_roles WHERE rolname = %s", [wanted.split("user=")[1].split()[0]]
        )
        assert made.fetchone() is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "../x"),
        ("name", "a b"),
        ("name", ""),
        ("name", "a" * 101),
        ("missed", "never"),
        ("args", "{}"),
        ("kwargs", "[]"),
    ],
)
def test_a_row_that_can_be_no_job_is_refused(dsn: str, column: str, value: str) -> None:
    row = {"name": "a", "task": "b.c", "cron": "* * * * *", "missed": "all", "args": "[]", "kwargs": "{}"}
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO jobs (name, task, cron, missed, args, kwargs)"
            " VALUES (%(name)s, %(task)s, %(cron)s, %(missed)s, %(args)s, %(kwargs)s)",
            row | {column: value},
        )


def test_urls_of_airflow_are_understood() -> None:
    url = "postgresql+psycopg2://a:p%40ss@h:5433/db?sslmode=require"
    assert database.libpq(url) == make_conninfo(
        host="h", port=5433, user="a", password="p@ss", dbname="db", sslmode="require"
    )
