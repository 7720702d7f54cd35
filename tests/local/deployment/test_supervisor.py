"""Processes are started, watched and stopped together, and none remains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local.deployment.supervisor import (
    RECORD_NAME,
    AlreadyRunningError,
    ProcessDiedError,
    Supervisor,
    recorded,
)
from local.processes import is_alive
from local.servers.server import Server, ServerError

# A server with a child that ignores signals, in its own process group, as task runners create them.
STUBBORN = """
import os, signal, sys, time
child = os.fork()
if not child:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(600)
print("child", child, flush=True)
time.sleep(600)
"""
DYING = "import sys; print('no such table', flush=True); sys.exit(3)"


class Script(Server):
    """A Python script. It is ready when it has printed something."""

    stop_timeout = 5.0

    def __init__(self, name: str, folder: Path, script: str) -> None:
        super().__init__(0, folder / "logs" / f"{name}.log")
        self.name = name
        self.script = script

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.script]

    def ready(self) -> bool:
        return bool(self.log.read_text())

    @property
    def child(self) -> psutil.Process:
        return psutil.Process(int(self.log.read_text().split()[-1]))


def test_a_killed_server_is_gone_with_its_children_and_nobody_complains(tmp_path):
    with Supervisor(tmp_path) as supervisor:
        lost, other = Script("lost", tmp_path, STUBBORN), Script("other", tmp_path, STUBBORN)
        supervisor.start(lost, other)
        family = [psutil.Process(lost.pid), lost.child]
        supervisor.kill(lost)
        assert not [process for process in family if is_alive(process)]
        assert lost.process is not None
        assert lost.process.returncode == -signal.SIGKILL
        assert [name for name, _, _ in recorded(tmp_path)] == ["other"]
        supervisor.check()
        assert is_alive(other.child)


def test_a_server_that_never_started_can_not_be_killed(tmp_path):
    with Supervisor(tmp_path) as supervisor, pytest.raises(ServerError, match="lost was never started"):
        supervisor.kill(Script("lost", tmp_path, STUBBORN))


def test_grandchildren_that_ignore_signals_are_ended_too(tmp_path):
    with Supervisor(tmp_path) as supervisor:
        server = Script("stubborn", tmp_path, STUBBORN)
        supervisor.start(server)
        child = server.child
        assert is_alive(child)
    assert not is_alive(child)
    assert server.process is not None
    assert server.process.poll() == -signal.SIGTERM


def test_last_started_is_stopped_first(tmp_path):
    said: list[str] = []
    with Supervisor(tmp_path, said.append) as supervisor:
        supervisor.start(Script("database", tmp_path, STUBBORN))
        supervisor.start(Script("writer", tmp_path, STUBBORN))
    assert said == ["database is up", "writer is up", "writer stopped", "database stopped"]


def test_process_that_ends_by_itself_is_named_with_the_end_of_its_log(tmp_path):
    with Supervisor(tmp_path) as supervisor:
        server = Script("dying", tmp_path, "import time; print('up', flush=True); time.sleep(600)")
        supervisor.start(server)
        supervisor.check()
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        with pytest.raises(ProcessDiedError, match=r"(?s)dying ended by itself with code -9.*up"):
            supervisor.check()


def test_failed_start_ends_what_was_started_beside_it(tmp_path):
    healthy, dying = Script("healthy", tmp_path, STUBBORN), Script("dying", tmp_path, DYING)
    dying.ready = lambda: False  # type: ignore[method-assign]
    with (
        Supervisor(tmp_path) as supervisor,
        pytest.raises(ServerError, match=r"(?s)dying ended with code 3.*no such table"),
    ):
        supervisor.start(healthy, dying)
    assert healthy.process is None or healthy.process.poll() is not None


def test_a_signal_while_it_stops_leaves_nothing_behind(tmp_path, monkeypatch):
    """This includes the first signal, if something else than a signal has ended the block."""
    processes: list[psutil.Process] = []

    def start_and_fail(supervisor: Supervisor) -> None:
        for name in ("first", "last"):
            supervisor.start(Script(name, tmp_path, STUBBORN))
        processes.extend(psutil.Process(server.pid) for server in supervisor.servers)
        monkeypatch.setattr(supervisor, "report", lambda _: os.kill(os.getpid(), signal.SIGINT))
        raise ServerError("waited in vain")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(ServerError, match="waited in vain"), Supervisor(tmp_path) as supervisor:
            start_and_fail(supervisor)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(processes) == 2
    assert not any(map(is_alive, processes))


def test_folder_has_one_supervisor_at_a_time(tmp_path):
    with (
        Supervisor(tmp_path),
        pytest.raises(AlreadyRunningError, match=f"in use by process {os.getpid()}"),
        Supervisor(tmp_path),
    ):
        pass
    with Supervisor(tmp_path):
        assert recorded(tmp_path) == []


def test_what_a_killed_supervisor_left_is_ended_by_the_next(tmp_path):
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from local.deployment.supervisor import Supervisor\n"
        "from tests.local.deployment.test_supervisor import STUBBORN, Script\n"
        "folder = Path(sys.argv[1])\n"
        "with Supervisor(folder) as supervisor:\n"
        "    supervisor.start(Script('left', folder, STUBBORN))\n"
        "    print('up', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"up\n"
        killed.kill()
    [(name, pid, log)] = recorded(tmp_path)
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    assert (name, log) == ("left", tmp_path / "logs" / "left.log")
    assert len(family) == 2
    said: list[str] = []
    with Supervisor(tmp_path, said.append):
        assert not any(map(is_alive, family))
    assert said == [f"left (process {pid}) is left from an earlier start: stopping it"]


def test_process_that_took_over_a_recorded_id_is_left_alone(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        entry = {
            "name": "old",
            "pid": stranger.pid,
            "started": time.time() - 3600,
            "signal": signal.SIGKILL,
            "log": "",
        }
        (tmp_path / RECORD_NAME).write_text(json.dumps([entry]))
        assert recorded(tmp_path) == []
        with Supervisor(tmp_path):
            assert stranger.poll() is None
        stranger.communicate(b"\n")
        assert stranger.returncode == 0
