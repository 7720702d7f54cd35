"""One server process on a loopback port: start it, wait until it answers, stop it.

Tests and the embedded deployment run their servers as subclasses of `Server`. Signals are sent only to processes that were
started here, by the process id that `start` got.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self


class ServerError(Exception):
    """A server failed to start, or did not stop in time. The message has the reason, mostly the end of its log."""


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 on which no process listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def require_free_port(port: int) -> None:
    """Raise ServerError if a process listens on 127.0.0.1:`port`."""
    with socket.socket() as listener:
        # Without this option, old connections of a server that has just ended would make bind() fail.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServerError(f"port {port} on 127.0.0.1 can't be used: {error.strerror}") from None


@contextmanager
def new_folder(data: Path, program: str) -> Iterator[Path]:
    """Yield an empty folder, and rename it to `data` after the block: an interruption leaves no half-created folder.

    Raises ServerError if `data` is not empty.
    """
    if data.exists() and any(data.iterdir()):
        raise ServerError(f"{data} is neither empty nor a {program} data folder: name another folder")
    data.parent.mkdir(parents=True, exist_ok=True)
    unfinished = data.with_name(f"{data.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    yield unfinished
    if data.exists():
        data.rmdir()
    unfinished.rename(data)


class Server(ABC):
    """A child process that serves one loopback port. A context manager, which stops the process at the end."""

    name: str
    start_timeout = 60.0
    stop_timeout = 30.0
    stop_signal = signal.SIGTERM

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the argument vector. It must not contain a secret, because other users can read it."""

    @abstractmethod
    def ready(self) -> bool:
        """Return True once the server answers a real request."""

    def initialize(self) -> None:
        """Create what the server needs on disk. Raises ServerError."""
        self.log.parent.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """Return the child's environment; secrets go here."""
        return dict(os.environ)

    def start(self) -> Self:
        """Initialize, start the process and wait until it answers. Raises ServerError with the log's last lines if not."""
        if self.process is not None and self.process.poll() is None:
            raise ServerError(f"{self.name} is already running as process {self.process.pid}")
        self.initialize()
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C at the terminal reaches only the supervisor, which stops the servers in order.
            self.process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + self.start_timeout
        while not self.ready():
            if (code := self.process.poll()) is not None:
                raise ServerError(f"{self.name} ended with code {code} while starting:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerError(
                    f"{self.name} gave no answer in {self.start_timeout:g} s:\n{self.log_tail()}"
                )
            time.sleep(0.05)
        return self

    @property
    def pid(self) -> int:
        """The process id, also of one that has ended. Raises ServerError for a server that was never started."""
        if self.process is None:
            raise ServerError(f"{self.name} was never started")
        return self.process.pid

    def stop(self) -> None:
        """Stop the process cleanly. Raises ServerError if it had to be killed."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(self.stop_timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(
                f"{self.name} did not stop in {self.stop_timeout:g} s and was killed:\n{self.log_tail()}"
            ) from None

    def kill(self) -> None:
        """End the process with SIGKILL, as a crash would."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Stop cleanly and start again on the same port and data."""
        self.stop()
        self.start()

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self if self.process is not None and self.process.poll() is None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
