"""Passes of one task that overlap: one reads from the source while the one before it is verified, published and recorded.

They are like passes of two tasks: each has its own session, snapshot and stage, and writes its own ledger rows. So what
`move.py` says of passes at the same time holds for them. At most two are under way, and only one of them reads, so that only
its batches are in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Lock, get_ident
from typing import TypeVar

from include.mirror.errors import NoSnapshotError

Pass = TypeVar("Pass")
Done = TypeVar("Done")


class StoppedError(Exception):
    """The other pass has failed."""


class Turn:
    """The right to read from the source, of one thread at a time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._stopped = Event()
        self._holder: int | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and hold it until the block ends or calls `release`."""
        self._lock.acquire()
        self._holder = get_ident()
        try:
            self.check()
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Let the other thread read."""
        if self._holder == get_ident():
            self._holder = None
            self._lock.release()

    def check(self) -> None:
        """Raise StoppedError if the other pass has failed."""
        if self._stopped.is_set():
            raise StoppedError

    def stop(self) -> None:
        """Let no further pass begin, and end the one that still reads."""
        self._stopped.set()


def overlap(
    turn: Turn, passes: Iterable[Pass], movers: Sequence[Callable[[Pass], Sequence[Done]]]
) -> list[Done]:
    """Let two movers, each in its own thread, work through the passes in order; return what they return.

    If one fails, waits for the other and raises the first error. A mover that finds a table locked leaves its pass to the
    other mover: an ALTER TABLE may be waiting for the other's pass, and blocks all later passes until then.
    """
    waiting = deque(passes)
    locked: list[NoSnapshotError] = []

    def go(move: Callable[[Pass], Sequence[Done]]) -> list[Done]:
        done: list[Done] = []
        try:
            while True:
                try:
                    works = waiting.popleft()
                except IndexError:
                    break
                try:
                    done += move(works)
                except NoSnapshotError as error:
                    locked.append(error)
                    if len(locked) > 1:
                        raise
                    waiting.appendleft(works)
                    break
        except StoppedError:
            pass
        except BaseException:
            turn.stop()
            raise
        return done

    here, there = movers
    with ThreadPoolExecutor(1, "pass") as pool:
        other = pool.submit(copy_context().run, go, there)
        mine = go(here)
        done = mine + other.result()
    if waiting:
        # The other was through by then.
        raise locked[0]
    return done
