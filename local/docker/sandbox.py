"""The namespaces around an engine, and their connection to the network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from local.deployment.settings import REPOSITORY
from local.docker import roots

CGROUP = "etl-vendas-docker"
"""The parent of the containers' control groups. These do not disappear with a namespace."""
NAMESERVER = "10.0.2.3"
"""slirp4netns' name server, which forwards to the machine's own."""


class SandboxError(Exception):
    """The engine could not be started. The message has the reason."""


def run(command: Sequence[str]) -> int:
    """Run a command with an engine of its own; return its exit code. Raises RootError, DebianError and SandboxError."""
    engine = roots.make("engine", roots.ENGINE)
    (roots.FOLDER / "data").mkdir(exist_ok=True)
    remove_control_groups()
    inner, outer = os.pipe(), os.pipe()
    try:
        return _run(engine, command, inner, outer)
    finally:
        for end in (*inner, *outer):
            with suppress(OSError):
                os.close(end)
        remove_control_groups()


def _run(engine: Path, command: Sequence[str], inner: tuple[int, int], outer: tuple[int, int]) -> int:
    process = subprocess.Popen(
        [
            *("/usr/bin/env", "unshare", "--net", "--mount", "--propagation", "private"),
            *("--pid", "--fork", "--mount-proc", "--kill-child", "--"),
            *(sys.executable, "-m", "local.docker.inside", str(engine), str(inner[1]), str(outer[0])),
            *command,
        ],
        pass_fds=(inner[1], outer[0]),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    os.close(inner[1])
    try:
        # `inside` writes a byte when its namespaces exist, and waits for a byte until it has a network.
        if os.read(inner[0], 1):
            with _network(process.pid):
                os.write(outer[1], b"1")
                return _wait(process)
        return _wait(process)
    finally:
        # The kernel ends all processes of a namespace with its first process.
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The command gets Ctrl-C too, and ends by itself.
            continue


@contextmanager
def _network(pid: int) -> Iterator[None]:
    """Connect a process' network namespace to the network while the block runs."""
    exit_read, exit_write = os.pipe()
    ready_read, ready_write = os.pipe()
    tools = roots.tools()
    process = subprocess.Popen(
        [
            *(str(tools.program("/usr/bin/slirp4netns")), "--configure", "--disable-host-loopback"),
            *(f"--exit-fd={exit_read}", f"--ready-fd={ready_write}", str(pid), "tap0"),
        ],
        env={**os.environ, **tools.environment()},
        pass_fds=(exit_read, ready_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(ready_write)
    try:
        if not os.read(ready_read, 1):
            raise SandboxError(f"slirp4netns ended with {process.wait()}: there is no network for the engine")
        yield
    finally:
        os.close(exit_write)
        process.wait()
        os.close(exit_read)
        os.close(ready_read)


def remove_control_groups() -> None:
    """Remove the control groups that ended containers have left."""
    for group in Path("/sys/fs/cgroup").glob(f"**/{CGROUP}"):
        for folder in (*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group):
            # The kernel refuses to remove a group that still has a process.
            with suppress(OSError):
                folder.rmdir()
