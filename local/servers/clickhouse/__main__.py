"""`python -m local.servers.clickhouse --data DIR --port N --user NAME`: run the service until SIGTERM or SIGINT.

The password comes from the environment variable CLICKHOUSE_PASSWORD.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop

from local.servers.clickhouse.errors import DataFolderError
from local.servers.clickhouse.reach import confine_to, take_folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.servers.clickhouse", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the data; created if it is missing"
    )
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1")
    parser.add_argument("--user", required=True, help="name of the only user")
    parser.add_argument(
        "--grace",
        type=int,
        default=10,
        help="seconds until running statements are cancelled when the service stops (default: 10)",
    )
    parser.add_argument(
        "--short-lived",
        action="store_true",
        help="for tests: don't wait until the disk has the tables' definitions, and compile no expressions",
    )
    return parser.parse_args()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    listener.set_inheritable(False)
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, which would end the process before the engine is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT. A second signal stops without waiting for clients."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def _serve(listener: socket.socket, arguments: argparse.Namespace, password: str) -> None:
    from local.servers.clickhouse.app import Service
    from local.servers.clickhouse.engine import Engine

    engine = Engine(arguments.data, arguments.short_lived)
    service = Service(engine, arguments.user, password)
    try:
        config = uvicorn.Config(
            service,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=600,
            timeout_graceful_shutdown=arguments.grace,
        )
        server = _Server(config)
        print(f"ClickHouse {engine.version} answers on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        await server.serve(sockets=[listener])
    finally:
        await service.close()
        engine.close()


def main() -> int:
    """Run the service; return the exit code."""
    # The engine is native code: if it crashes, the log shows where each thread was.
    faulthandler.enable()
    arguments = _arguments()
    password = os.environ.pop("CLICKHOUSE_PASSWORD", "")
    if not password:
        print("CLICKHOUSE_PASSWORD is not set: the service has no default password", file=sys.stderr)
        return 2
    if not 1 <= arguments.port <= 65535:
        print(f"--port is {arguments.port}: it must be from 1 to 65535", file=sys.stderr)
        return 2
    if not arguments.user:
        print("--user is empty: name the service's user", file=sys.stderr)
        return 2
    # The server's time zone must not depend on the environment of the process that starts it.
    os.environ["TZ"] = "UTC"
    try:
        listener = _listen(arguments.port)
    except OSError as error:
        print(f"cannot listen on 127.0.0.1:{arguments.port}: {error.strerror}", file=sys.stderr)
        return 1
    try:
        # Before the engine is imported: threads that run already would not be confined.
        print(confine_to(take_folder(arguments.data)), flush=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(listener, arguments, password))
    except DataFolderError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
