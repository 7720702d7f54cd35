"""Programs from Debian's archive, unpacked into a folder. Nothing is installed on the machine, and root is not needed.

apt finds the packages that the machine lacks, downloads them and checks their signatures, with its lists and cache in that
folder. dpkg only unpacks them. This is for programs that exist in no wheel, and that the deployment itself does not need.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

# dpkg's list of the machine's packages: these need not be fetched.
INSTALLED = Path("/var/lib/dpkg/status")


class DebianError(Exception):
    """Packages can't be fetched. The message has the reason, and what would be right."""


@dataclass(frozen=True)
class Unpacked:
    """A folder with unpacked packages, whose programs run in place."""

    root: Path

    def program(self, path: str) -> Path:
        """Return the unpacked program for its absolute path on Debian, or else the machine's own.

        Raises DebianError if neither exists.
        """
        for found in (self.root / path.lstrip("/"), Path(path)):
            if found.exists():
                return found
        raise DebianError(f"{path} is neither in {self.root} nor on this machine")

    def environment(self) -> Mapping[str, str]:
        """Return the variables with which the dynamic linker finds the unpacked libraries."""
        triplet = sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu"
        shared = self.root / "usr" / "lib" / triplet
        # Private libraries of a package, such as libpulse's, which it searches where they would be installed.
        own = sorted({library.parent for library in shared.glob("*/lib*.so*")})
        folders = [shared, self.root / "lib" / triplet, self.root / "usr" / "lib", *own]
        return {"LD_LIBRARY_PATH": os.pathsep.join(map(str, folders))}


def unpack(folder: Path, packages: Iterable[str], installed: Path = INSTALLED) -> Unpacked:
    """Return these packages with all dependencies that `installed` lacks. A second call returns the same folder.

    The folder is created under another name and then renamed, so a call that dies leaves nothing that looks complete. Of
    two calls at once, the second waits. Raises DebianError with apt's output.
    """
    names = sorted(packages)
    if missing := [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]:
        raise DebianError(
            f"{' and '.join(missing)} not found: {', '.join(names)} come from Debian's archive. On another system "
            "install them by its own means"
        )
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "-".join(names)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            unfinished = Path(mkdtemp(prefix="unfinished-", dir=folder))
            try:
                for archive in _download(unfinished / "apt", names, installed):
                    _run("dpkg-deb", "--extract", str(archive), str(unfinished / "root"))
                (unfinished / "root").mkdir(exist_ok=True)
                (unfinished / "root").rename(root)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return Unpacked(root)


def _download(folder: Path, names: Iterable[str], installed: Path) -> list[Path]:
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True)
    options = [
        f"Dir::State::lists={folder / 'lists'}",
        f"Dir::State::status={installed}",
        f"Dir::Cache={folder}",
        f"Dir::Cache::archives={folder / 'archives'}",
        # No lock and no other user: only this process uses the folder, and only its own user may write there.
        "Debug::NoLocking=true",
        "APT::Sandbox::User=",
        "APT::Install-Recommends=false",
        "Acquire::Retries=3",
        "Acquire::Languages=none",
    ]
    apt = ["apt-get", "--quiet", "--yes", *(word for option in options for word in ("--option", option))]
    _run(*apt, "update")
    _run(*apt, "install", "--download-only", *names)
    return sorted((folder / "archives").glob("*.deb"))


def _run(*command: str) -> None:
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    if done.returncode:
        raise DebianError(f"{command[0]} ended with {done.returncode}: {done.stdout.strip()[-2000:]}")
