"""`python -m local.docker COMMAND …`: run a command that finds a Docker Engine. Starts an engine first if none answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from local.docker.roots import RootError
from local.docker.sandbox import SandboxError, run
from local.servers.debian import DebianError


def main(command: list[str]) -> int:
    """Return the command's exit code."""
    if not command:
        sys.exit(__doc__)
    if subprocess.run(["/usr/bin/env", "docker", "info"], check=False, capture_output=True).returncode == 0:
        return subprocess.run(command, check=False).returncode
    if os.geteuid() != 0 or sys.platform != "linux":
        sys.exit("no Docker Engine answers, and only root on Linux can start one: start Docker and try again")
    print("No Docker Engine answers: starting one from Debian's packages", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(command)
    except (DebianError, RootError, SandboxError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
