"""Supervises the processes of one deployment: starts them in order, watches them, stops them in reverse order.

Process managers for web applications stop all processes at once, and kill them seconds later. In a pipeline, the writers
must stop first and the databases last, because a running task needs the databases until its end. psutil finds the processes
that servers have started, even if their parents have ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from local.processes import is_alive
from local.servers.server import Server, ServerError

LOCK_NAME = "lock"
RECORD_NAME = "processes.json"
# Seconds that a process of a killed supervisor gets to stop.
ORPHAN_TIMEOUT = 15.0


class AlreadyRunningError(Exception):
    """Another supervisor uses the same folder. The message has its process id."""


class ProcessDiedError(Exception):
    """A process of the deployment ended by itself. The message has the end of its log."""


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore stop signals during a stop: it takes a limited time, and an interrupted stop would leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Supervisor:
    """Owns the processes of one folder. A context manager: no process remains after it."""

    def __init__(self, folder: Path, report: Callable[[str], None] = lambda _: None) -> None:
        self.folder = folder
        self.report = report
        self.servers: list[Server] = []
        self._recorded = ""
        self._lock_file: int | None = None

    def __enter__(self) -> Self:
        """Lock the folder, and end the processes that a killed supervisor has left. Raises AlreadyRunningError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # os.open, because child processes do not inherit its descriptor: a server that outlives us would keep the lock.
        descriptor = os.open(self.folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 20, 0).decode() or "unknown"
            os.close(descriptor)
            raise AlreadyRunningError(
                f"{self.folder} is in use by process {owner}; stop that one first, or choose another --folder"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock_file = descriptor
        self._end_orphans()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with _undisturbed():
                self.stop()
        finally:
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    def start(self, *servers: Server) -> None:
        """Start the servers in parallel, and wait until all of them answer.

        If one fails, raises ServerError or the error of the server's own preparation.
        """
        if not servers:
            return
        self.servers.extend(servers)
        with ThreadPoolExecutor(len(servers)) as pool:
            starting = {pool.submit(server.start): server for server in servers}
            try:
                while starting:
                    done, _ = wait(starting, timeout=0.2, return_when=FIRST_COMPLETED)
                    # Record before the servers answer, too: the supervisor can be killed while it waits.
                    self._record()
                    for start in done:
                        server = starting.pop(start)
                        start.result()
                        self.report(f"{server.name} is up")
            except BaseException:
                # Ends the other threads, which still wait for their servers.
                self.stop()
                raise

    def check(self) -> None:
        """Raise ProcessDiedError if a process has ended by itself."""
        for server in self.servers:
            if server.process is not None and (code := server.process.poll()) is not None:
                self.report(f"{server.name} ended by itself: stopping everything")
                raise ProcessDiedError(
                    f"{server.name} ended by itself with code {code}; the end of {server.log}:\n{server.log_tail()}"
                )

    def stop(self, *servers: Server) -> None:
        """Stop the given servers, or all, in reverse order of their start, each with all processes that it has started."""
        for server in reversed([one for one in self.servers if not servers or one in servers]):
            if server.process is None:
                continue
            family = _family(server.process.pid)
            try:
                server.stop()
            except ServerError as error:
                self.report(str(error))
            finally:
                family.update(_session(server.process.pid))
                _kill(family)
                self.servers.remove(server)
            self.report(f"{server.name} stopped")
        self._record()

    def kill(self, server: Server) -> None:
        """End a server and all processes that it has started with SIGKILL, as if its machine was lost; then forget it."""
        if server.process is None:
            raise ServerError(f"{server.name} was never started")
        leader = server.process.pid
        for process in {psutil.Process(leader), *_family(leader), *_session(leader)}:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        server.process.wait()
        _kill(_session(leader))  # processes that were forked meanwhile
        self.servers.remove(server)
        self.report(f"{server.name} was killed")
        self._record()

    def _record(self) -> None:
        running = json.dumps(
            [
                {
                    "name": server.name,
                    "pid": server.process.pid,
                    "started": _started(server.process.pid),
                    "signal": int(server.stop_signal),
                    "log": str(server.log),
                }
                for server in self.servers
                if server.process is not None and server.process.poll() is None
            ]
        )
        if running != self._recorded:
            (self.folder / RECORD_NAME).write_text(running)
            self._recorded = running

    def _end_orphans(self) -> None:
        """End the processes that a killed supervisor has left.

        A process counts as ours only if both its id and its start time are as recorded.
        """
        for entry in reversed(_read_record(self.folder)):
            if not _is_recorded(entry):
                continue
            self.report(
                f"{entry['name']} (process {entry['pid']}) is left from an earlier start: stopping it"
            )
            family = _family(entry["pid"])
            process = psutil.Process(entry["pid"])
            process.send_signal(entry["signal"])
            _wait([process], ORPHAN_TIMEOUT)
            _kill({*family, process, *_session(entry["pid"])})


def recorded(folder: Path) -> list[tuple[str, int, Path]]:
    """Return name, process id and log of the processes that run in a folder, in the order of their start."""
    return [
        (entry["name"], entry["pid"], Path(entry["log"]))
        for entry in _read_record(folder)
        if _is_recorded(entry)
    ]


def _read_record(folder: Path) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = json.loads((folder / RECORD_NAME).read_text())
    except (FileNotFoundError, ValueError):
        return []
    return entries


def _is_recorded(entry: dict[str, Any]) -> bool:
    """Return whether the recorded process still runs. Its id alone is not enough: another process may have it by now."""
    return bool(_started(entry["pid"]) == entry["started"])


def _started(pid: int) -> float | None:
    """Return the start time of a process, or None if there is no process with this id."""
    try:
        return round(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def _family(pid: int) -> set[psutil.Process]:
    """Return the present descendants of a process. psutil identifies each by id and start time."""
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def _session(leader: int) -> set[psutil.Process]:
    """Return the processes of a session. They stay in it when their parents have ended."""
    members = set()
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                members.add(process)
        except OSError:
            continue
    return members


def _kill(processes: Iterable[psutil.Process]) -> None:
    # Children that end with their parent get a moment to do so.
    left = _wait(processes, 1.0)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _wait(left, 5.0)


def _wait(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until the processes have ended; return those that still run after `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
