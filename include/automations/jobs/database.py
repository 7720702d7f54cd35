"""The database of the jobs: made with a role of its own, and brought to this version.

`prepare` may run any number of times, also in several processes at once: each step is taken under a lock that the
server keeps for as long as the process lives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = "jobs_version"
"""Alembic's table of the version, in the database of the jobs."""
# Any number that nobody else locks in these databases.
LOCK = 0x6A6F6273


def ensure_database(owner: str, host: str, port: int, database: str, user: str, password: str) -> None:
    """Create role and database on the server of `owner`, a conninfo, unless `user` can log in there already.

    The role gets this password again each time. Raises psycopg.Error, for an owner that may not create them as well.
    """
    try:
        psycopg.connect(
            host=host, port=port, dbname=database, user=user, password=password, connect_timeout=10
        ).close()
        return
    except psycopg.OperationalError:
        pass
    with psycopg.connect(owner, autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        # Hashed here, so that the password reaches neither the statement nor the server's log.
        hashed = server.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
        known = server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone()
        server.execute(
            sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(
                sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(user), sql.Literal(hashed)
            )
        )
        if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            # An owner that is no superuser has to be a member of the role that it gives the database to.
            server.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(user)))
            server.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(user))
            )
            server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))


def migrate(url: Any) -> None:
    """Bring the database to the newest version; `url` is SQLAlchemy's."""
    from alembic import command
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
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


def _alembic() -> Any:
    from alembic.config import Config

    config = Config()
    # Its configuration knows %(name)s, so that a % in the path has to be doubled.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
