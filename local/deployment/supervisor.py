"""Keeps the processes of one deployment together: in order up, watched, in reverse order down.

Process managers made for web applications end all their children at once, a few seconds before they kill
them. A pipeline wants its writers to stop first and its databases last, and a running task to reach both
until it is done. psutil finds the processes that servers start in turn, whatever becomes of their parents.
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

from local.servers.server import Server, ServerError

LOCK_NAME = "lock"
RECORD_NAME = "processes.json"
# How long a process of a supervisor that was killed may take to stop, seconds.
ORPHAN_TIMEOUT = 15.0


class AlreadyRunningError(Exception):
    """Another supervisor looks after the same folder; the message names its process."""


class ProcessDiedError(Exception):
    """A process of the deployment ended by itself; the message holds the end of its log."""


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore signals that ask to end: that is under way, is bounded in time, and broken off would leave processes behind."""
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
    """Owns the processes of one folder; a context manager that leaves none of them behind."""

    def __init__(self, folder: Path, report: Callable[[str], None] = lambda _: None) -> None:
        self.folder = folder
        self.report = report
        self.servers: list[Server] = []
        self._recorded = ""
        self._lock_file: int | None = None

    def __enter__(self) -> Self:
        """Take the folder. Raises AlreadyRunningError; ends what a killed supervisor left running."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # os.open, as its descriptor is not inherited: a server that outlives us would keep the lock.
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
        """Start the servers side by side and wait until all of them answer.

        Raises ServerError, or whatever a server's own preparation raises, for the first that failed.
        """
        if not servers:
            return
        self.servers.extend(servers)
        with ThreadPoolExecutor(len(servers)) as pool:
            starting = {pool.submit(server.start): server for server in servers}
            try:
                while starting:
                    done, _ = wait(starting, timeout=0.2, return_when=FIRST_COMPLETED)
                    # Also before a server answers: a supervisor can be killed while it waits.
                    self._record()
                    for start in done:
                        server = starting.pop(start)
                        start.result()
                        self.report(f"{server.name} is up")
            except BaseException:
                # The other threads wait for servers that are not needed any more.
                self.stop()
                raise

    def check(self) -> None:
        """Raise ProcessDiedError when a process has ended by itself."""
        for server in self.servers:
            if server.process is not None and (code := server.process.poll()) is not None:
                self.report(f"{server.name} ended by itself: stopping everything")
                raise ProcessDiedError(
                    f"{server.name} ended by itself with code {code}; the end of {server.log}:\n{server.log_tail()}"
                )

    def stop(self, *servers: Server) -> None:
        """Stop the given servers, or all, the last started first, each with every process it started."""
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
        """End a server and every process it started with SIGKILL, as a machine that is lost would, and forget it."""
        if server.process is None:
            raise ServerError(f"{server.name} was never started")
        leader = server.process.pid
        for process in {psutil.Process(leader), *_family(leader), *_session(leader)}:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        server.process.wait()
        _kill(_session(leader))  # what was forked meanwhile
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
        """End what a supervisor that was killed left behind.

        A process counts as ours only if both its id and its start time are those that were recorded.
        """
        for entry in reversed(_read_record(self.folder)):
            if not _is_recorded(entry):
                continue
            self.report(f"{entry['name']} (process {entry['pid']}) was left by an earlier start: stopping it")
            family = _family(entry["pid"])
            process = psutil.Process(entry["pid"])
            process.send_signal(entry["signal"])
            _wait([process], ORPHAN_TIMEOUT)
            _kill({*family, process, *_session(entry["pid"])})


def recorded(folder: Path) -> list[tuple[str, int, Path]]:
    """Return name, process id and log of what runs in a folder, in the order it was started."""
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
    """Whether the recorded process still runs: an id alone could be another's by now."""
    return bool(_started(entry["pid"]) == entry["started"])


def _started(pid: int) -> float | None:
    """Return the moment a process started, or None when there is none with this id."""
    try:
        return round(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def _family(pid: int) -> set[psutil.Process]:
    """Return the descendants that a process has now; psutil knows each by id and start time."""
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def _session(leader: int) -> set[psutil.Process]:
    """Return the members of a session, which stay members when their parents are gone."""
    members = set()
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader:
                members.add(process)
        except OSError:
            continue
    return members


def _kill(processes: Iterable[psutil.Process]) -> None:
    # Children that end with their parent need a moment to do it by themselves.
    left = _wait(processes, 1.0)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    _wait(left, 5.0)


def _wait(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until the processes have ended; return those that have not in time."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _is_alive(process: psutil.Process) -> bool:
    # A zombie whose parent is gone waits for init to take note, which some inits in containers never do.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
