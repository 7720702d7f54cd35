"""The database of the jobs: made with a role of its own, and brought to this version.

All of it may run any number of times, also in several processes at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = "jobs_version"
"""Alembic's table of the version, in the database of the jobs."""
# Any number that nobody else locks in these databases.
LOCK = 0x6A6F6273


@contextmanager
def alone(conninfo: str) -> Iterator[None]:
    """Wait until nobody else is in such a block on this database; the server lets go of it with the process."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        yield


def ensure(wanted: str, owner: str) -> None:
    """Make the role and the database of `wanted` on the server of `owner`, unless one can log in there already.

    Both are libpq's conninfo. A role that is there gets the password again. Raises ValueError for a role or a database
    that is not named, or is `owner`'s own; and psycopg.Error with what the server said, also where `owner` may not
    create them; nothing is made on a server that `wanted` does not name.
    """
    check(wanted, owner)
    try:
        psycopg.connect(wanted, connect_timeout=10).close()
        return
    except psycopg.OperationalError:
        if _server(wanted) != _server(owner):
            raise
    ours = conninfo_to_dict(wanted)
    user, database = sql.Identifier(str(ours["user"])), sql.Identifier(str(ours["dbname"]))
    with psycopg.connect(owner, autocommit=True) as server:
        # Hashed here, so that the password reaches neither the statement nor the server's log.
        hashed = server.pgconn.encrypt_password(
            str(ours["password"]).encode(), str(ours["user"]).encode(), b"scram-sha-256"
        ).decode()
        known = server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ours["user"]]).fetchone()
        server.execute(
            sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                sql.SQL("ALTER" if known else "CREATE"), user, sql.Literal(hashed)
            )
        )
        if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [ours["dbname"]]).fetchone():
            # Who is no superuser has to be a member of the role that it gives the database to.
            server.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(user))
            server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, user))
        server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))


def check(wanted: str, owner: str) -> None:
    """Raise ValueError unless `wanted` names a role, its password and a database, which are others than `owner`'s.

    The role gets a password and the database is closed to others, which whose they are would not survive.
    """
    ours, theirs = conninfo_to_dict(wanted), conninfo_to_dict(owner)
    names = {"user": "login", "password": "password", "dbname": "database"}
    if absent := [name for key, name in names.items() if not ours.get(key)]:
        raise ValueError(f"{', '.join(absent)} not given: it must name a role, its password and a database")
    for key in ("user", "dbname"):
        if _server(wanted) == _server(owner) and ours[key] == theirs.get(key):
            raise ValueError(
                f"the {names[key]} {ours[key]!r} is that of Airflow's metadata: the jobs must have one of their own"
            )


def migrate(conninfo: str) -> None:
    """Bring the database to the newest version."""
    from alembic import command
    from sqlalchemy import create_engine, text

    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo))
    try:
        with engine.begin() as connection:
            # Until the migrations are committed: a second process then finds nothing to do.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def head() -> str:
    """Return the newest version that the migration files know."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(_alembic()).get_current_head())


def libpq(url: str) -> str:
    """Return a PostgreSQL URL of SQLAlchemy, whichever driver it names, as libpq's conninfo."""
    from sqlalchemy import make_url

    parts = make_url(url)
    known: dict[str, Any] = {
        "host": parts.host,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password,
        "dbname": parts.database,
        **parts.query,
    }
    return make_conninfo(**{key: value for key, value in known.items() if value is not None})


def _server(conninfo: str) -> tuple[str, str]:
    known = conninfo_to_dict(conninfo)
    return str(known.get("host") or ""), str(known.get("port") or 5432)


def _alembic() -> Any:
    from alembic.config import Config

    config = Config()
    # Its configuration knows %(name)s, so that a % in the path has to be doubled.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
