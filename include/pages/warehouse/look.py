"""Looks at a mirror's servers for the page, and keeps what it saw for some seconds: many readers cost as much as one."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from include.pages.warehouse import state
from include.pages.warehouse.mirrors import Place

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

CONNECT, ANSWER = 3, 15
"""How long, in seconds, a server may take to accept a connection and to answer."""
KEPT = 5.0
_NOTHING_YET = (60, 81)
"""ClickHouse's error codes: an unknown table, and an unknown database."""

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Keeps what was read, by key, for `seconds`. If several threads ask at once, one reads, and all get its result."""

    def __init__(self, seconds: float, most: int = 64, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.most, self.clock = seconds, most, clock
        self._known: dict[Hashable, tuple[float, Value]] = {}
        self._locks: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def get(self, key: Hashable, read: Callable[[], Value]) -> Value:
        """Return the kept value, or read it. What `read` raises is not kept."""
        with self._lock:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            known = self._known.get(key)
            if known is not None and self.clock() - known[0] < self.seconds:
                return known[1]
            value = read()
            with self._lock:
                self._known[key] = (self.clock(), value)
                for old in list(self._known)[: -self.most]:
                    del self._known[old]
                    self._locks.pop(old, None)
            return value


@dataclass(frozen=True)
class View:
    """What is known of a mirror: its tables, or why they can't be read, and whether its source answers."""

    place: Place
    at: datetime
    tables: Sequence[state.Table] = ()
    away: str | None = None
    is_new: bool = False
    source_away: str | None = None

    @property
    def worst(self) -> str:
        """The worst word of the tables, and `unknown` without any."""
        return self.tables[0].word if self.tables else "unknown"

    @property
    def summary(self) -> str:
        """How many tables have which word, worst first."""
        words = [table.word for table in self.tables]
        counts = [(word, words.count(word)) for word in state.ORDER if word in words]
        if len(counts) == 1:
            word, count = counts[0]
            said = {
                "equal": "is equal" if count == 1 else "are equal",
                "never compared": "never compared",
            }.get(word)
            verb = said or (word if count == 1 else {"differs": "differ", "follows": "follow"}[word])
            return f"the one table {verb}" if count == 1 else f"all {count} tables {verb}"
        many = {"differs": "differ", "follows": "follow"}
        return " · ".join(f"{count} {word if count == 1 else many.get(word, word)}" for word, count in counts)

    @property
    def verdict(self) -> str:
        """Whether the warehouse is right, in one or two sentences for somebody who sees the page for the first time."""
        of = {word: [table for table in self.tables if table.word == word] for word in state.ORDER}
        unproved = len(of["never compared"])
        never = (
            f"{'1 table was' if unproved == 1 else f'{unproved} tables were'} never compared with the source."
        )
        if differing := [table.name for table in of["differs"]]:
            they = "does not equal its source" if len(differing) == 1 else "do not equal their sources"
            return f"Wrong: {', '.join(differing)} {they}." + (f" {never}" if unproved else "")
        if unproved:
            return f"Not proved yet: {never} No difference is known."
        if not (moving := of["follows"]):
            return "Right: every table equals its source."
        lags = [table.lag for table in moving]
        if any(lag is None for lag in lags):
            return "Not complete yet: a table still waits for rows. No difference is known."
        lag = max(lag for lag in lags if lag is not None)
        if lag > state.STALE.total_seconds():
            return f"Late: the warehouse is {state.duration(lag)} behind its source. No difference is known."
        tables = "1 table" if len(moving) == 1 else f"{len(moving)} tables"
        return (
            f"Right, as far as it was compared. Since then, rows of {tables} have moved; the warehouse is at most "
            f"{state.duration(lag)} behind its source."
        )


_views: Cache[View] = Cache(KEPT)


def views(places: Sequence[Place]) -> list[View]:
    """Return what is known of these mirrors now, or was some seconds ago."""
    if not places:
        return []
    with ThreadPoolExecutor(min(8, len(places)), "warehouse-page") as threads:
        return list(threads.map(lambda place: _views.get(place, lambda: look(place)), places))


def look(place: Place) -> View:
    """Look at both servers of a mirror, at the same time."""
    with ThreadPoolExecutor(1, "warehouse-page-source") as threads:
        source = threads.submit(source_problem, place)
        now = datetime.now(UTC)
        try:
            with open_client(place.warehouse) as client:
                tables = state.read(client, place.storage, place.views)
        except Exception as error:  # noqa: BLE001 - whatever keeps the page from the warehouse is shown
            if getattr(error, "code", None) in _NOTHING_YET:
                return View(place, now, is_new=True, source_away=source.result())
            return View(place, now, away=error_line(error), source_away=source.result())
        return View(place, now, tables, is_new=not tables, source_away=source.result())


@contextmanager
def open_client(connection: str) -> Iterator[Client]:
    """Open a client of a warehouse, with short time limits, and close it when the block ends."""
    from include.conventions.connections import clickhouse

    client = clickhouse(connection, connect_timeout=CONNECT, send_receive_timeout=ANSWER)
    try:
        yield client
    finally:
        client.close()


def source_problem(place: Place) -> str | None:
    """Return why a mirror's source does not answer, None if it does."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    from include.airflow_mirror.connections import source
    from include.airflow_mirror.settings import load

    try:
        dsn = source(place.source, load(place.label)).conninfo
        psycopg.connect(make_conninfo(dsn, connect_timeout=CONNECT)).close()
    except Exception as error:  # noqa: BLE001 - it is shown
        return error_line(error)
    return None


def error_line(error: Any) -> str:
    """Return an error in one line, without secrets that Airflow knows."""
    from airflow.sdk.log import redact

    text = " ".join(str(error).split()) or type(error).__name__
    return str(redact(text))[:400]
