"""Ends the processes that a test process has left behind: `python -m tests.guard PID`.

Fixtures stop their servers when the session ends. But if pytest's controller is interrupted, its workers get seconds until
they are killed, and a deployment needs longer to stop. The guard runs outside of the session. It notes the descendants of
process PID, and ends those that still run after PID has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

import psutil

from local.processes import is_alive

PAUSE = 1.0
# Seconds that a process gets between SIGTERM and SIGKILL.
GRACE = 5.0


def start() -> None:
    """Start a guard of this process, which is none of its children."""
    subprocess.run([sys.executable, "-m", "tests.guard", str(os.getpid())], check=True)


def main() -> None:
    """Become a process of its own, and wait for the end of process PID."""
    guarded = psutil.Process(int(sys.argv[1]))
    started = set(guarded.children(recursive=True)) - {psutil.Process()}
    if os.fork():
        return
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    end(watch(guarded, started))


def watch(guarded: psutil.Process, started: set[psutil.Process]) -> set[psutil.Process]:
    """Wait until a process has ended; return what still runs of `started` and of its later descendants."""
    while is_alive(guarded):
        with suppress(psutil.NoSuchProcess):
            started.update(guarded.children(recursive=True))
        # This process was a descendant until its parent, which has forked it, ended.
        started = set(filter(is_alive, started)) - {psutil.Process()}
        time.sleep(PAUSE)
    return started


def end(processes: set[psutil.Process]) -> None:
    """End processes and their descendants, with SIGTERM and then with SIGKILL."""
    for process in set(processes):
        with suppress(psutil.NoSuchProcess):
            processes |= set(process.children(recursive=True))
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                stop(process)
        _, left = psutil.wait_procs(processes, GRACE)
        processes = set(left)


if __name__ == "__main__":
    main()
