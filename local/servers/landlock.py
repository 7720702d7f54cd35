"""Confine this process to some folders with Linux' Landlock: the kernel then refuses all other files.

    version = confine(readable=[Path("/usr/lib")], writable=[data])

This can't be undone, and it holds for everything that the process starts. Open files stay open. The process can't execute
programs. If the kernel supports it, the process also can't listen on further TCP ports, signal other processes or use their
abstract sockets. Connections to other servers are not restricted.

Source: the kernel's documentation, userspace-api/landlock.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from enum import IntFlag
from pathlib import Path
from typing import Protocol

# The system calls' numbers, the same on all common architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38


class LandlockError(Exception):
    """The kernel has Landlock, but the process can't be confined. The message is the reason."""


class Access(IntFlag):
    """What a rule allows below a path."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Access.READ_FILE | Access.READ_DIR
# No devices, pipes and sockets: a database needs none. Links are no way out, because the kernel checks their target.
WRITE = (
    READ
    | Access.WRITE_FILE
    | Access.TRUNCATE
    | Access.MAKE_REG
    | Access.MAKE_DIR
    | Access.MAKE_SYM
    | Access.REMOVE_FILE
    | Access.REMOVE_DIR
    | Access.REFER
)
_OF_A_FILE = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
# The last right that each version of the interface knows. Newer versions know all of them.
_LAST_ACCESS = {1: Access.MAKE_SYM, 2: Access.REFER, 3: Access.TRUNCATE, 4: Access.TRUNCATE}
_BIND_TCP, _BIND_TCP_SINCE = 1, 4
_SCOPES, _SCOPES_SINCE = 1 | 2, 6


class Kernel(Protocol):
    """The four calls; each raises OSError."""

    def version(self) -> int:
        """Return the version of the interface."""

    def create(self, access: int, network: int, scopes: int) -> int:
        """Return the descriptor of a new ruleset. It refuses these accesses, except where a rule allows them."""

    def allow(self, ruleset: int, access: int, path: int) -> None:
        """Add a rule for everything below an open path."""

    def restrict(self, ruleset: int) -> None:
        """Confine the calling thread, and everything that it starts."""


class Linux:
    """The running kernel."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def _call(self, number: int, *arguments: object) -> int:
        result: int = self._libc.syscall(number, *arguments)
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    def version(self) -> int:
        return self._call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))

    def create(self, access: int, network: int, scopes: int) -> int:
        # Older kernels accept this size too, if the fields that they do not know are zero.
        wanted = struct.pack("=QQQ", access, network, scopes)
        return self._call(_CREATE_RULESET, wanted, ctypes.c_size_t(len(wanted)), ctypes.c_uint32(0))

    def allow(self, ruleset: int, access: int, path: int) -> None:
        rule = struct.pack("=Qi", access, path)
        self._call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))

    def restrict(self, ruleset: int) -> None:
        # The kernel requires this.
        if self._libc.prctl(_PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(value) for value in (1, 0, 0, 0))) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))


def confine(readable: Iterable[Path], writable: Iterable[Path], kernel: Kernel | None = None) -> int:
    """Confine this process to these paths and everything below them. Missing paths are ignored.

    Returns the version of the kernel's interface, or 0 if the kernel has no Landlock; then nothing is confined. Raises
    LandlockError if other threads are running, because they would not be confined, or if the kernel refuses.
    """
    kernel = kernel or Linux()
    try:
        version = kernel.version()
    except OSError:
        return 0
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise LandlockError(f"{threads} threads are running: confine the process before it starts any")
    known = Access((_LAST_ACCESS.get(version, Access.IOCTL_DEV) << 1) - 1)
    try:
        ruleset = kernel.create(
            known,
            _BIND_TCP if version >= _BIND_TCP_SINCE else 0,
            _SCOPES if version >= _SCOPES_SINCE else 0,
        )
        try:
            for access, paths in ((READ, readable), (WRITE, writable)):
                for path in paths:
                    _allow(kernel, ruleset, access & known, path)
            kernel.restrict(ruleset)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise LandlockError(f"the kernel does not confine this process: {error.strerror}") from None
    return version


def _allow(kernel: Kernel, ruleset: int, access: Access, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    kernel.allow(ruleset, access if is_folder else access & _OF_A_FILE, descriptor)
    # A rule belongs to a file object, not to a path. Unless a file of /proc is open, the kernel may drop its object and
    # create a new one, without the rule. So these files stay open.
    if not path.is_relative_to("/proc"):
        os.close(descriptor)
