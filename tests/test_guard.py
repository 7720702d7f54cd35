"""No process of a test session remains, however the session ends, and Ctrl-C reaches what tests start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from local.processes import is_alive
from local.waiting import until

ROOT = Path(__file__).resolve().parent.parent
# A session with a server that ignores SIGTERM, in a session of its own as all servers are, and an endless test.
SESSION = """
import subprocess, sys, time
from tests import guard
server = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
process = subprocess.Popen([sys.executable, "-c", server], stdout=subprocess.PIPE, start_new_session=True)
process.stdout.readline()
guard.start()
print(process.pid, flush=True)
time.sleep(600)
"""
ASKS_CHILD = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
import tests.conftest
signal.raise_signal(signal.SIGINT)
child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
subprocess.run([sys.executable, "-c", child], check=True)
"""


def test_the_servers_of_a_killed_session_are_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SESSION], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as session:
        assert session.stdout is not None
        server = psutil.Process(int(session.stdout.readline()))
        assert is_alive(server)
        session.kill()
    until(lambda: not is_alive(server), 60, lambda: f"process {server.pid} has ended")


def test_ctrl_c_reaches_the_children_of_a_session_that_ignores_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASKS_CHILD], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
