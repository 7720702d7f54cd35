"""Other versions of the servers than those of `make test`.

    SERVER_VERSION=postgres-14 .venv/bin/pytest tests/integration

runs tests on one of them. `make test-versions` runs the tests that concern a server on each of its versions, and prints a
table (`__main__.py`).

PostgreSQL's programs are in npm packages, for Linux on x86-64; `package-lock.json` has their hashes. MySQL and RabbitMQ are
of another release of Debian than the machine's. All are unpacked into `.local`, and nothing is installed on the machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

from local.deployment.settings import DEFAULT_FOLDER
from local.servers import postgres, rabbitmq
from local.servers.debian import Unpacked, unpack
from local.servers.server import ServerError

VARIABLE = "SERVER_VERSION"
DEBIAN = DEFAULT_FOLDER / "debian"
FOLDER = DEFAULT_FOLDER / "versions"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Version:
    """`tree` fetches the programs, or finds them fetched. `program` in it prints its version; `tests` concern the server."""

    tree: Callable[[], Unpacked]
    program: str
    tests: tuple[str, ...]


def _postgres(name: str) -> Version:
    return Version(
        lambda: Unpacked(_npm() / name / "native"),
        "/bin/postgres",
        (
            "tests/integration",
            "tests/include/mirror",
            "tests/include/airflow_mirror",
            "tests/local/source",
            "tests/local/compare",
        ),
    )


VERSIONS: Mapping[str, Version] = {
    "postgres-14": _postgres("postgres-14"),
    "postgres-15": _postgres("postgres-15"),
    "postgres-16": _postgres("postgres-16"),
    "postgres-17": _postgres("postgres-17"),
    "mysql-9": Version(
        lambda: unpack(DEBIAN, ["mysql-server-core"], release="sid"),
        "/usr/sbin/mysqld",
        ("tests/include/loja",),
    ),
    "rabbitmq-4.0": Version(
        lambda: unpack(DEBIAN, rabbitmq.PACKAGES, release="trixie"),
        "/usr/lib/rabbitmq/lib",
        ("tests/include/loja/queues", "tests/include/loja/tasks"),
    ),
}


def chosen(server: str) -> Version | None:
    """Return the version of this server that SERVER_VERSION names; None without one. Raises ServerError if it is unknown."""
    name = os.environ.get(VARIABLE)
    if name and name not in VERSIONS:
        raise ServerError(f"{VARIABLE}={name} is not known: it must be one of {', '.join(VERSIONS)}")
    return VERSIONS[name] if name and name.split("-")[0] == server else None


def postgres_major() -> int:
    """Return PostgreSQL's major version, such as 18. Tests with the mark `postgres(17)` need at least that one."""
    version = chosen("postgres")
    return int(os.environ[VARIABLE].split("-")[1]) if version else 18


def postgres_binaries() -> Path:
    """Return the folder with PostgreSQL's programs."""
    version = chosen("postgres")
    return version.tree().root / "bin" if version else postgres.BINARIES


def rabbitmq_tree() -> Unpacked:
    """Return RabbitMQ's programs."""
    version = chosen("rabbitmq")
    return version.tree() if version else unpack(DEBIAN, rabbitmq.PACKAGES)


def _npm() -> Path:
    """Return the folder of the locked npm packages. Raises ServerError with npm's output."""
    lock = HERE / "package-lock.json"
    folder = FOLDER / sha256(lock.read_bytes()).hexdigest()[:12]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = Path(mkdtemp(prefix="unfinished-", dir=FOLDER))
            unfinished.chmod(0o755)
            try:
                for file in (HERE / "package.json", lock):
                    shutil.copy(file, unfinished)
                # Without the packages' own scripts: all they do is to make the links.
                npm = (
                    "npm",
                    "ci",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                    "--prefix",
                    str(unfinished),
                )
                done = subprocess.run(["/usr/bin/env", *npm], check=False, capture_output=True, text=True)
                if done.returncode:
                    raise ServerError(f"npm ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
                for package in (unfinished / "node_modules").iterdir():
                    _make_links(package)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder / "node_modules"


def _make_links(package: Path) -> None:
    """Make the links of a package, which npm's archives can't contain."""
    links = package / "native" / "pg-symlinks.json"
    if links.exists():
        for link in json.loads(links.read_text()):
            target = package / link["target"]
            target.symlink_to(os.path.relpath(package / link["source"], target.parent))
