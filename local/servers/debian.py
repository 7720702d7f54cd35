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
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class DebianError(Exception):
    """Packages can't be fetched. The message has the reason, and what would be right."""


@dataclass(frozen=True)
class Unpacked:
    """A folder with unpacked packages, whose programs run in place.

    `complete`: the programs have a C library of their own, of another release than the machine's, and find it by themselves.
    """

    root: Path
    complete: bool = False

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
        return {} if self.complete else {"LD_LIBRARY_PATH": os.pathsep.join(map(str, self.libraries()))}

    def libraries(self) -> list[Path]:
        """Return the folders with unpacked libraries."""
        triplet = sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu"
        shared = self.root / "usr" / "lib" / triplet
        # Private libraries of a package, such as libpulse's, which it searches where they would be installed.
        own = sorted({library.parent for library in shared.glob("*/lib*.so*")})
        return [shared, self.root / "lib" / triplet, self.root / "usr" / "lib", *own]


def unpack(folder: Path, packages: Iterable[str], installed: Path = INSTALLED, release: str = "") -> Unpacked:
    """Return these packages with all dependencies that `installed` lacks. A second call returns the same folder.

    `release` names another release of Debian than the machine's, such as "trixie". Then all dependencies are unpacked,
    because the machine's libraries are of another age. They stay in this folder: the programs can't be moved.

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
    root = folder / "-".join([*names, release] if release else names)
    patchelf = unpack(folder, ["patchelf"], installed).program("/usr/bin/patchelf") if release else None
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            unfinished = Path(mkdtemp(prefix="unfinished-", dir=folder))
            try:
                for archive in _download(unfinished / "apt", names, installed, release):
                    _run("dpkg-deb", "--extract", str(archive), str(unfinished / "root"))
                (unfinished / "root").mkdir(exist_ok=True)
                if patchelf:
                    _use_own_libraries(unfinished / "root", root.absolute(), patchelf)
                (unfinished / "root").rename(root)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return Unpacked(root, complete=bool(release))


def mirror() -> str | None:
    """Return the address of the Debian archive that the machine uses; None if it is not a Debian."""
    listed = subprocess.run(
        ["/usr/bin/env", "apt-get", "indextargets", "--format", "$(REPO_URI)"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout.split()
    return next((uri for uri in listed if uri.rstrip("/").endswith("/debian")), None)


def _use_own_libraries(tree: Path, root: Path, patchelf: Path) -> None:
    """Make the programs in `tree`, which will be in `root`, use the C library and the other libraries there."""
    loader = next(path for pattern in ("usr/lib*", "lib*") for path in tree.glob(f"{pattern}/ld-linux*.so.*"))
    libraries = os.pathsep.join(str(root / path.relative_to(tree)) for path in Unpacked(tree).libraries())
    for path in tree.rglob("*"):
        if path.is_symlink() or not path.is_file() or ".so" in path.name or not path.stat().st_mode & 0o100:
            continue
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
        _run(
            *(str(patchelf), "--set-interpreter", str(root / loader.relative_to(tree))),
            # Not RUNPATH, which the libraries' own dependencies would not inherit.
            *("--force-rpath", "--set-rpath", libraries, str(path)),
        )


def _download(folder: Path, names: Iterable[str], installed: Path, release: str) -> list[Path]:
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True)
    sources = []
    if release:
        if (address := mirror()) is None:
            raise DebianError(
                f"this machine's sources of packages name no archive of Debian: {', '.join(names)} of {release} "
                "can't be fetched"
            )
        (folder / "sources.list").write_text(f"deb [signed-by={KEYS}] {address} {release} main\n")
        (folder / "status").touch()
        installed = folder / "status"
        sources = [f"Dir::Etc::SourceList={folder / 'sources.list'}", f"Dir::Etc::SourceParts={os.devnull}"]
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
        *sources,
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
