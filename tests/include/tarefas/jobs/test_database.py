"""The jobs' database: made by whoever may, brought to its version by several at once, and closed to others."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from include.tarefas.jobs import database
from include.tarefas.jobs.schedule import Schedule
from include.tarefas.jobs.store import Store
from local.servers.postgres import Postgres

_numbers = itertools.count(1)
TIMES = ("next_run_at", "last_run_at", "tried_at")
UNKNOWN = (
    "infinity",
    "-infinity",
    "1999-12-31 23:59:59Z",
    "0044-03-15Z BC",
    "9000-01-01 00:00:01Z",
    "99999-01-01Z",
)


@pytest.fixture
def wanted(postgres: Postgres) -> str:
    """A role and a database that are not there yet."""
    name = f"wanted_{next(_numbers)}"
    return make_conninfo(
        host="127.0.0.1", port=postgres.port, user=name, password="p'w \\ç", dbname=f"{name} db"
    )


def prepare(wanted: str, owner: str) -> None:
    with database.exclusive(owner):
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
    ("change", "said"),
    [
        ({"user": ""}, "^login not given"),
        ({"password": ""}, "^password not given"),
        ({"dbname": ""}, "^database not given"),
        ({"user": "", "password": "", "dbname": ""}, "^login, password, database not given"),
        ({"user": "postgres"}, "login 'postgres' is that of Airflow's metadata"),
        ({"dbname": "postgres"}, "database 'postgres' is that of Airflow's metadata"),
    ],
)
def test_what_is_not_named_or_airflows_own_is_refused(
    postgres: Postgres, wanted: str, change: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        database.ensure(make_conninfo(wanted, **change), postgres.dsn())
    assert "p'w" not in str(caught.value)
    # The owner's password is what it was.
    with psycopg.connect(postgres.dsn()) as server:
        assert server.execute("SELECT 1 FROM pg_tables WHERE tablename = 'jobs'").fetchone() is None


def test_the_same_names_on_another_server_are_no_ones_own() -> None:
    database.check("host=b user=airflow password=x dbname=airflow", "host=a user=airflow dbname=airflow")
    with pytest.raises(ValueError, match="Airflow's metadata"):
        database.check(
            "host=a port=5432 user=airflow password=x dbname=jobs", "host=a user=airflow dbname=airflow"
        )


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
    with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.CheckViolation):
        insert(connection, {column: value})


def test_times_that_nobody_can_read_are_refused_and_all_others_are_read(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection, Store(dsn) as store:
        for column in TIMES:
            for time in UNKNOWN:
                with pytest.raises(psycopg.errors.CheckViolation, match="times_between_2000_and_9000"):
                    insert(connection, {column: time})
            for time in ("2000-01-01Z", "9000-01-01Z"):
                insert(connection, {column: time})
                assert [job.name for job in store.jobs()] == ["a"]
                with store.claim(store.now(), excluding=[]):
                    pass
                connection.execute("DELETE FROM jobs")


@pytest.mark.parametrize("cron", ["0 0 29 2 *", "59 23 31 12 *"])
def test_no_due_time_comes_near_the_bounds(cron: str) -> None:
    # The year 2200 has no 29th of February.
    assert Schedule(cron, "Pacific/Kiritimati").after(datetime(2199, 12, 31, tzinfo=UTC)).year <= 2204


def insert(connection: psycopg.Connection, values: dict[str, str]) -> None:
    """What somebody writes by hand."""
    row = {"name": "a", "task": "b.c", "cron": "* * * * *"} | values
    connection.execute(
        sql.SQL("INSERT INTO jobs ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Literal, row.values()))
        )
    )


def test_urls_of_airflow_are_understood() -> None:
    url = "postgresql+psycopg2://a:p%40ss@h:5433/db?sslmode=require"
    assert database.libpq(url) == make_conninfo(
        host="h", port=5433, user="a", password="p@ss", dbname="db", sslmode="require"
    )
