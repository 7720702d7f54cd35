"""Debian file systems, made by mmdebstrap: one to run the engine in, one that stand-ins for images begin with."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from local.deployment.settings import DEFAULT_FOLDER
from local.servers.debian import Unpacked, unpack

FOLDER = DEFAULT_FOLDER / "docker"
# A stable release. Its engine, 26.1, is newer than the 25 that the compose file asks for.
SUITE = "trixie"
ENGINE = (
    *("docker.io", "docker-cli", "docker-buildx", "docker-compose"),
    *("ca-certificates", "iptables", "mount"),
)
STAND_INS = (
    *("busybox-static", "ca-certificates", "curl", "dumb-init", "python3", "python3-venv", "wget"),
    *("mariadb-client-core", "mariadb-server-core", "prometheus", "rabbitmq-server", "redis-server"),
)
# Of the machine's own release, for the machine itself.
TOOLS = ("mmdebstrap", "slirp4netns")


class RootError(Exception):
    """A file system could not be made; the message holds mmdebstrap's last words."""


def make(name: str, packages: Sequence[str], *, archive: bool = False) -> Path:
    """Return a folder, or an archive of one, with Debian and these packages; a second call finds that of the first.

    It is made aside and renamed into its place, so that a call which dies leaves nothing that looks whole. Raises
    RootError, and DebianError where mmdebstrap can't be had.
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
    """Return the programs that make the file systems, and lead from a namespace to the network."""
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
            *_mirror(),
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


def _mirror() -> list[str]:
    """Return where the machine itself has Debian from; mmdebstrap knows a place for everybody else."""
    listed = subprocess.run(
        ["/usr/bin/env", "apt-get", "indextargets", "--format", "$(REPO_URI)"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout.split()
    return [uri for uri in listed if uri.rstrip("/").endswith("/debian")][:1]
