"""MySQL in MariaDB's place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from local.servers.mariadb import USER, MariaDB


class MySQL(MariaDB):
    """One MySQL server, with the same single account as `MariaDB`."""

    name = "MySQL"

    def command(self) -> list[str]:
        """Return the argument vector of the foreground server process, without a setting that MySQL 9 does not have."""
        return [word for word in super().command() if not word.startswith("--innodb-log-file-size=")]

    def create(self, data: Path) -> subprocess.CompletedProcess[str]:
        """Create the system tables and the account in an empty folder."""
        password = self.password.replace("\\", "\\\\").replace("'", "\\'")
        statements = (
            f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n"
            "DROP USER 'root'@'localhost';\n"
        )
        reader, writer = os.pipe()
        try:
            # Through a pipe: no file and no command line contains the password.
            os.write(writer, statements.encode())
            os.close(writer)
            return subprocess.run(
                [*self.program(data), "--initialize-insecure", f"--init-file=/dev/fd/{reader}"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[reader],
                text=True,
                errors="replace",
                check=False,
            )
        finally:
            os.close(reader)

    def program(self, data: Path | None = None) -> list[str]:
        """Return the program with the options that do not depend on what it is started for."""
        share = self.tree.program("/usr/share/mysql")
        return [
            str(self.tree.program("/usr/sbin/mysqld")),
            "--no-defaults",
            *(["--user=root"] if os.geteuid() == 0 else []),
            f"--datadir={data or self.data}",
            f"--lc-messages-dir={share}",
            f"--character-sets-dir={share / 'charsets'}",
            # A second protocol, with a port of its own.
            "--mysqlx=OFF",
            # No statement reads or writes a file; the package's folder for that does not exist here.
            "--secure-file-priv=NULL",
        ]
