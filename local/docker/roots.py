"""Debian file systems, created by mmdebstrap: one for the engine, and one as the base of the stand-ins for images."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from local.deployment.settings import DEFAULT_FOLDER
from local.servers.debian import Unpacked, mirror, unpack

FOLDER = DEFAULT_FOLDER / "docker"
# A stable release. Its engine is 26.1; the Compose file needs 25 or later.
SUITE = "trixie"
ENGINE = (
    *("docker.io", "docker-cli", "docker-buildx", "docker-compose"),
    *("ca-certificates", "iptables", "mount"),
)
STAND_INS = (
    *("busybox-static", "ca-certificates", "curl", "dumb-init", "python3", "python3-venv", "wget"),
    *("mariadb-client-core", "mariadb-server-core", "prometheus", "rabbitmq-server", "redis-server"),
)
# These run on the machine itself, and are of its own release.
TOOLS = ("mmdebstrap", "slirp4netns")


class RootError(Exception):
    """A file system could not be created. The message has the end of mmdebstrap's output."""


def make(name: str, packages: Sequence[str], *, archive: bool = False) -> Path:
    """Return a folder, or an archive of one, with Debian and these packages. A second call returns the same one.

    It is created under another name and then renamed, so a call that dies leaves nothing that looks complete. Raises
    RootError, and DebianError if mmdebstrap can't be fetched.
    """
    version = sha256(" ".join((SUITE, *packages)).encode()).hexdigest()[:12]
    made = FOLDER / f"{name}-{version}{'.tar' if archive else ''}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            for old in FOLDER.glob(f"{name}-*"):
                subprocess.run(["/bin/rm", "--recursive", "--force", "--one-file-system", old], check=True)
            _bootstrap(made, packages)
    return made


def tools() -> Unpacked:
    """Return the programs that create the file systems and connect a namespace to the network."""
    return unpack(DEFAULT_FOLDER / "debian", TOOLS)


def _bootstrap(made: Path, packages: Sequence[str]) -> None:
    mmdebstrap = tools().program("/usr/bin/mmdebstrap")
    unfinished = made.with_name(f"{made.stem}.unfinished{made.suffix}")
    done = subprocess.run(
        [
            *("/usr/bin/env", "perl", str(mmdebstrap)),
            *("--mode=root", "--variant=apt", f"--format={'tar' if made.suffix else 'directory'}"),
            f"--include={','.join(packages)}",
            SUITE,
            str(unfinished),
            # The machine's own Debian mirror, or else mmdebstrap's default.
            *filter(None, [mirror()]),
        ],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise RootError(f"mmdebstrap ended with {done.returncode}: {done.stdout.strip()[-2000:]}")
    unfinished.rename(made)
