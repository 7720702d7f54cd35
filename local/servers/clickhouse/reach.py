"""Which files the service's process can reach: its data folder, and the code that it runs.

The engine reads and writes any file for a client's SQL. `statement` refuses the known ways to do this. The kernel refuses
all others.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from local.servers.clickhouse.errors import DataFolderError
from local.servers.landlock import LandlockError, confine

_PACKAGE = Path(__file__).resolve().parents[2]
# Shared libraries, time zones, name resolution, and what the engine reads about processors and memory. From the process's
# own folder in /proc only `maps`, which the C library reads: `environ` may contain passwords.
_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/usr/share/zoneinfo", "/etc/localtime", "/etc/ssl/openssl.cnf"),
    *("/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/gai.conf"),
    *("/proc/self/maps", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/sys/vm"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"),
    *("/dev/random", "/dev/urandom"),
)


def take_folder(data: Path) -> Path:
    """Create the data folder if it is missing, close it to other users, and return its absolute path.

    Raises DataFolderError if the folder can't be used.
    """
    data = data.resolve()
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A folder of an earlier version is open to everybody.
        data.chmod(0o700)
        _temporary(data).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataFolderError(f"cannot use the data folder {data}: {error.strerror or error}") from None
    return data


def _temporary(data: Path) -> Path:
    return data / "service" / "spool"


def confine_to(data: Path) -> str:
    """Confine this process to the folder `data`, and return a line for the log. The process must have only one thread.

    Raises DataFolderError if the kernel has Landlock but refuses.
    """
    # For a form's uploads.
    os.environ["TMPDIR"] = str(_temporary(data))
    # For later imports, but without the project's folder: it contains the passwords of deployments.
    apart = {_PACKAGE.parent, Path.cwd()}
    readable = [path for path in map(Path, filter(None, sys.path)) if path.resolve() not in apart]
    # For the stack trace of an error, the engine reads the names of functions from the program and its libraries.
    readable += [_PACKAGE, Path(sys.base_prefix) / "lib", Path(sys.executable).resolve()]
    try:
        version = confine([*readable, *map(Path, _SYSTEM)], [data, Path("/dev/null")])
    except LandlockError as error:
        raise DataFolderError(str(error)) from None
    if not version:
        return (
            "NOT CONFINED: this kernel has no Landlock; only grants, constraints and the checks of statements keep "
            "clients from files of this machine"
        )
    return f"confined to {data} by Landlock (version {version})"
