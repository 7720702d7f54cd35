"""Create the database of the jobs with its own role, and migrate it to this version.

All of it can be repeated, also in several processes at once.
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
# The number of the advisory lock; no other program may lock it in these databases.
LOCK = 0x6A6F6273


@contextmanager
def exclusive(conninfo: str) -> Iterator[None]:
    """Run the block while no other process is in such a block on this database. The lock ends with the process."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        yield


def ensure(wanted: str, owner: str) -> None:
    """Create the role and the database of `wanted` on the server of `owner`, unless `wanted` can log in already.

    Both are libpq's conninfo. An existing role gets the password again. If `wanted` names another server than `owner`,
    nothing is created. Raises ValueError if a role or a database is missing in `wanted`, or is `owner`'s own; psycopg.Error
    with the server's message, for example if `owner` may not create them.
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
        # Hashed here, so that the password is neither in the statement nor in the server's log.
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
            # Without superuser rights, the current user must be a member of the role that will own the database.
            server.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(user))
            server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, user))
        server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))


def check(wanted: str, owner: str) -> None:
    """Raise ValueError unless `wanted` names a role, its password and a database, and they differ from `owner`'s.

    `ensure` sets the role's password and closes the database to other roles, which would lock out Airflow itself.
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
    """Migrate the database to the newest version."""
    from alembic import command
    from sqlalchemy import create_engine, text

    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo))
    try:
        with engine.begin() as connection:
            # Held until the migrations are committed, so that a second process finds nothing to do.
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def head() -> str:
    """Return the newest version of the migration files."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(_alembic()).get_current_head())


def libpq(url: str) -> str:
    """Return libpq's conninfo for a PostgreSQL URL of SQLAlchemy, with any driver."""
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
    # Alembic's configuration interpolates %(name)s, so a % in the path must be doubled.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
