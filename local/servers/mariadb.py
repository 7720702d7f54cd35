"""MariaDB, which uses MySQL's protocol, on the loopback interface: `mariadbd` from Debian's package, unpacked.

The first start creates the data folder, with a password that never changes. The only account, `loja`, may do everything;
the package's anonymous accounts and those without a password are removed before the server is first reachable.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pymysql

from local.servers.debian import Unpacked
from local.servers.server import Server, ServerError, new_folder

PACKAGES = ["mariadb-server-core"]
USER = "loja"
NOT_THERE_YET = 2003
ACCESS_DENIED = 1045
# The scripts that `mariadb-install-db` runs, in its order.
SYSTEM_TABLES = [
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
    "mysql_sys_schema.sql",
]
SETTINGS = {
    "bind-address": "127.0.0.1",
    "character-set-server": "utf8mb4",
    "collation-server": "utf8mb4_unicode_ci",
    "default-time-zone": "+00:00",
    "max-connections": "200",
    "innodb-buffer-pool-size": "128M",
    "innodb-log-file-size": "64M",
    "performance-schema": "OFF",
}


class MariaDB(Server):
    """One MariaDB server in `data`, listening on 127.0.0.1:`port`.

    `settings` are server variables, which add to `SETTINGS` or replace them. They are on the command line, so they must not
    contain a secret.
    """

    name = "MariaDB"

    def __init__(
        self,
        data: Path,
        port: int,
        password: str,
        log: Path,
        tree: Unpacked,
        settings: dict[str, str] | None = None,
    ) -> None:
        super().__init__(port, log)
        self.data = data.absolute()
        self.password = password
        self.tree = tree
        self.settings = {**SETTINGS, **(settings or {})}

    def connect(self, database: str | None = None, **options: Any) -> pymysql.Connection[Any]:
        """Return a connection of the account `loja`, which may do everything."""
        parameters = self.parameters(database)
        # As bytes: PyMySQL would encode a str as Latin-1.
        parameters["password"] = self.password.encode()
        return pymysql.connect(**parameters, charset="utf8mb4", **options)

    def parameters(self, database: str | None = None) -> dict[str, Any]:
        """Return the arguments of `include.loja.mysql.connect` for a database, as values for JSON."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password": self.password,
            "database": database,
        }

    def create_database(self, name: str) -> None:
        """Create an empty database if it is missing."""
        with self.connect() as connection, connection.cursor() as cursor:
            quoted = name.replace("`", "``")
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{quoted}`")

    def command(self) -> list[str]:
        """Return the argument vector of the foreground server process."""
        return [
            *self.program(),
            f"--port={self.port}",
            # Relative to the data folder: the default is one path for all servers, and a socket's path can't be long.
            "--socket=socket",
            f"--pid-file={self.data / 'pid'}",
            # Otherwise each connection waits for a DNS query.
            "--skip-name-resolve",
            *(f"--{name}={value}" for name, value in self.settings.items()),
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment that finds the unpacked libraries."""
        return {**os.environ, **self.tree.environment()}

    def initialize(self) -> None:
        """Create the data folder if it is missing. Raises ServerError with the server's output."""
        super().initialize()
        if (self.data / "mysql").exists():
            return
        if not self.password:
            raise ServerError("the password is empty: it must hold at least one character")
        with new_folder(self.data, self.name) as unfinished:
            done = self.create(unfinished)
            if done.returncode != 0 or "ERROR" in done.stdout:
                raise ServerError(f"{self.name} could not create {self.data}: {done.stdout.strip()[-2000:]}")

    def create(self, data: Path) -> subprocess.CompletedProcess[str]:
        """Create the system tables and the account in an empty folder, with the server's program."""
        return subprocess.run(
            [*self.program(data), "--bootstrap", "--enforce-storage-engine="],
            env=self.environment(),
            # Through a pipe, and with a hashed password: no file and no command line contains it.
            input=self._bootstrap(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )

    def ready(self) -> bool:
        """Return True once this process, and no other, answers. Raises ServerError if it refuses the password."""
        if self.process is None or self._pid() != self.process.pid:
            return False
        try:
            self.connect(connect_timeout=5).close()
        except pymysql.OperationalError as error:
            if error.args[0] == ACCESS_DENIED:
                self.stop()
                raise ServerError(
                    f"the data folder {self.data} was created with another password for {USER!r}"
                ) from None
            return False
        return True

    def program(self, data: Path | None = None) -> list[str]:
        """Return the program with the options that do not depend on what it is started for."""
        share = self.tree.program("/usr/share/mysql")
        return [
            str(self.tree.program("/usr/sbin/mariadbd")),
            # Ignore the option files of the machine and of the user.
            "--no-defaults",
            # Without this option, mariadbd refuses to run as root.
            *(["--user=root"] if os.geteuid() == 0 else []),
            f"--datadir={data or self.data}",
            f"--lc-messages-dir={share}",
            f"--character-sets-dir={share / 'charsets'}",
            f"--plugin-dir={data or self.data}",
        ]

    def _bootstrap(self) -> str:
        share = self.tree.program("/usr/share/mysql")
        hashed = hashlib.sha1(hashlib.sha1(self.password.encode()).digest()).hexdigest().upper()  # noqa: S324
        return "\n".join(
            [
                "CREATE DATABASE mysql;",
                "USE mysql;",
                "SET @auth_root_socket = NULL;",
                *((share / name).read_text() for name in SYSTEM_TABLES),
                "DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';",
                "DELETE FROM mysql.proxies_priv;",
                "FLUSH PRIVILEGES;",
                f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' IDENTIFIED VIA mysql_native_password USING '*{hashed}'"
                " WITH GRANT OPTION;",
                "",
            ]
        )

    def _pid(self) -> int | None:
        try:
            return int((self.data / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
