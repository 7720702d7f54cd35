"""Passes of one task that overlap: one reads from the source while the one before it is verified, published and recorded.

They are passes like those of two tasks, each with a session, a snapshot and a stage of its own, and with its ledger rows
once it is through: what `move.py` says of two at once holds for them. Two are under way at most, and one of them reads, so
that the batches of one are in memory.
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
        """Wait for the turn, and have it until the block ends, or `over` is called in it."""
        self._lock.acquire()
        self._holder = get_ident()
        try:
            self.check()
            yield
        finally:
            self.over()

    def over(self) -> None:
        """Let the other thread have it."""
        if self._holder == get_ident():
            self._holder = None
            self._lock.release()

    def check(self) -> None:
        """Raise StoppedError where the other pass has failed."""
        if self._stopped.is_set():
            raise StoppedError

    def stop(self) -> None:
        """Let no further pass begin, and end one that still reads."""
        self._stopped.set()


def overlap(
    turn: Turn, passes: Iterable[Pass], movers: Sequence[Callable[[Pass], Sequence[Done]]]
) -> list[Done]:
    """Have two movers, each in a thread, make the passes in their order; return what they return.

    Raises what the first that fails raises, once the other has ended. A mover that finds a table locked leaves its pass to
    the other: an ALTER TABLE may wait for the other's pass, and holds up all later ones until then.
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
