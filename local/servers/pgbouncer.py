"""PgBouncer on the loopback interface, from Debian's package, unpacked. Only tests use it.

It requires no password from clients. Each of its databases is a connection to one server as one role.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local.servers.debian import Unpacked
from local.servers.server import Server

PACKAGES = ["pgbouncer"]
PROGRAM = "/usr/sbin/pgbouncer"
# PgBouncer does not run as root.
ACCOUNT = "nobody"


class PgBouncer(Server):
    """One pooler. `databases` maps names to DSNs, with role and password.

    `modes` maps the same names to a pool mode: session, transaction or statement. The configuration is in `folder`.
    """

    name = "PgBouncer"

    def __init__(
        self,
        folder: Path,
        port: int,
        log: Path,
        tree: Unpacked,
        databases: Mapping[str, str],
        modes: Mapping[str, str],
    ) -> None:
        super().__init__(port, log)
        self.folder = folder.absolute()
        self.tree = tree
        self.databases = databases
        self.modes = modes

    def dsn(self, database: str) -> str:
        """Return the connection string of one of its databases."""
        return make_conninfo(host="127.0.0.1", port=self.port, dbname=database, user="anybody")

    def command(self) -> list[str]:
        """Write the configuration, and return the argument vector."""
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "pgbouncer.ini"
        configuration.touch(mode=0o600)
        configuration.write_text(self.configuration())
        return [str(self.tree.program(PROGRAM)), str(configuration)]

    def environment(self) -> dict[str, str]:
        """Return the environment with which the unpacked libraries are found."""
        return {**os.environ, **self.tree.environment()}

    def configuration(self) -> str:
        """Return the text that PgBouncer reads."""
        lines = ["[databases]"]
        for name, dsn in self.databases.items():
            parts = conninfo_to_dict(dsn)
            leads_to = {key: parts[key] for key in ("host", "port", "dbname", "user", "password")}
            words = " ".join(f"{key}='{_quoted(str(value))}'" for key, value in leads_to.items())
            lines.append(f"{name} = {words} pool_mode={self.modes[name]}")
        account = f"user = {pwd.getpwnam(ACCOUNT).pw_name}" if os.geteuid() == 0 else ""
        return "\n".join(
            [
                *lines,
                "[pgbouncer]",
                "listen_addr = 127.0.0.1",
                f"listen_port = {self.port}",
                "unix_socket_dir =",
                "auth_type = any",
                # A common setting for clients that send options: PgBouncer drops them silently.
                "ignore_startup_parameters = extra_float_digits,options",
                account,
                "",
            ]
        )

    def ready(self) -> bool:
        """Return True once every database answers."""
        try:
            for name in self.databases:
                with psycopg.connect(self.dsn(name), connect_timeout=5, autocommit=True) as connection:
                    connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def _quoted(text: str) -> str:
    return text.replace("'", "''")
