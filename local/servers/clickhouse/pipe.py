"""Waiting for the engine without holding the event loop: the pipe that a result comes through, and threads."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PIECE = 1 << 20


async def in_thread(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run `function` in a thread; a cancelled caller waits for its end first.

    The function may be using a file that the caller closes next. The number of a closed descriptor goes at once
    to whatever the engine opens in its own threads, and a late write would land there.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise


class Pipe:
    """A pipe from a thread to the event loop; `write_end` is the thread's to close.

    Not a transport of the loop: uvloop closes a pipe's descriptor twice, and the second time it may be one that
    the engine has opened in the meantime ("Cannot close file", and worse where nothing notices).
    """

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(PermissionError):
                fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIECE)

    async def read(self) -> bytes:
        """Return what is there, at most a megabyte; wait for it first; empty at the end."""
        while True:
            with contextlib.suppress(BlockingIOError):
                return os.read(self._read_end, PIECE)
            await self._readable()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._read_end, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._read_end)

    def close(self) -> None:
        """Stop reading: whoever still writes gets an error. Nobody may be waiting in `read`."""
        os.close(self._read_end)
