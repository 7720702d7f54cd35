"""Wait for the engine without blocking the event loop: the pipe for a result, and threads."""

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
    """Run `function` in a thread. If the caller is cancelled, wait for the function's end first.

    The function may use a file that the caller closes next. The engine's threads may then open another file with the same
    descriptor number, and a late write of the function would go there.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise


class Pipe:
    """A pipe from a thread to the event loop. The thread must close `write_end`.

    It is not a transport of the event loop: uvloop closes a pipe's descriptor twice, and before the second time the engine
    may have opened a file with this number ("Cannot close file", or damage without an error).
    """

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(PermissionError):
                fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIECE)

    async def read(self) -> bytes:
        """Wait for data, and return up to `PIECE` bytes; empty at the end."""
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
        """Stop reading; a later write raises an error. No `read` may be running."""
        os.close(self._read_end)
