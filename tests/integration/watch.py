"""A reader that polls the warehouse's views while a test breaks things, and compares each result with the truth.

The truth of a table is a set of rules for every result:

- No key is there twice.
- Each key of `must` is there. These are the keys that both sides were proved to have, without the keys that the source has
  deleted since, and without the keys that somebody has damaged by hand. A key is removed from `must` before that happens,
  and added again when both sides are proved equal again.
- If `may` is known, no other key is there. These are the keys that both sides had then, and the keys added since.
- The value of a key of `must` never gets smaller: each write in the source uses the next number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from clickhouse_connect.driver.client import Client

from local.servers.clickhouse import ClickHouse

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Truth:
    """The truth of one table. `since` counts how often keys have been added to `must` again."""

    since: int = 0
    must: Mapping[Key, int] = field(default_factory=dict)
    may: frozenset[Key] | None = None


@dataclass
class Watcher:
    """Polls while the block runs, and fails at its end if a result broke a rule.

    `queries` return, for each table, the columns of the key and the value. `vanished` gets the keys that are missing in a
    result and were in the one before; it returns those that should still be there. A query that raises is a failure too,
    unless `excused` is set: then a server is down.
    """

    clickhouse: ClickHouse
    queries: Mapping[str, str]
    vanished: Callable[[str, set[Key]], set[Key]] | None = None
    excused: threading.Event = field(default_factory=threading.Event)
    pause: float = 0.2
    polls: int = 0
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._truths = {table: Truth() for table in self.queries}
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        # If an error ends the block, it is raised, and nothing is added to it.
        if kind is None:
            self.check()
            assert self.polls > 0

    def check(self) -> None:
        """Fail if a result was wrong so far."""
        assert not self.wrong, "\n".join(self.wrong[:10])

    def touch(self, table: str, keys: Iterable[Key], new: Iterable[Key] = ()) -> None:
        """Allow that these keys disappear from now on, and that the new ones appear."""
        with self._lock:
            truth, gone = self._truths[table], set(keys)
            must = {key: value for key, value in truth.must.items() if key not in gone}
            may = None if truth.may is None else truth.may | frozenset(new)
            self._truths[table] = replace(truth, must=must, may=may)

    def settle(self, table: str, rows: Mapping[Key, int], *, all_known: bool = True) -> None:
        """Set the truth: both sides are equal and have these rows; with `all_known`, no others."""
        with self._lock:
            truth = self._truths[table]
            self._truths[table] = Truth(truth.since + 1, dict(rows), frozenset(rows) if all_known else None)

    def restore(self, table: str, rows: Mapping[Key, int]) -> None:
        """Add rows to the truth again that may have been missing."""
        with self._lock:
            truth = self._truths[table]
            self._truths[table] = replace(truth, since=truth.since + 1, must={**truth.must, **rows})

    def _watch(self) -> None:
        client: Client | None = None
        seen: dict[str, dict[Key, int]] = {}
        while not self._stop.wait(self.pause):
            for table, query in self.queries.items():
                before = self._truths[table]
                try:
                    client = client or self.clickhouse.client()
                    rows = client.query(query).result_rows
                except Exception as error:  # noqa: BLE001 - whatever ends the watching is a failure
                    client = None
                    if not self.excused.is_set():
                        self.wrong.append(repr(error))
                        return
                    continue
                now = {tuple(row[:-1]): row[-1] for row in rows}
                self.polls += 1
                self._hold(table, before, self._truths[table], len(rows), now, seen.get(table, {}))
                seen[table] = now
        if client is not None:
            client.close()

    def _hold(
        self,
        table: str,
        before: Truth,
        after: Truth,
        count: int,
        now: Mapping[Key, int],
        last: Mapping[Key, int],
    ) -> None:
        if len(now) < count:
            self.wrong.append(f"{table}: {count} rows, {len(now)} keys")
        if self.vanished is not None and (lost := last.keys() - now.keys()):
            self._report(table, "gone", self.vanished(table, lost))
        if before.since != after.since:
            # Both sides were proved equal during this query.
            return
        must = before.must.keys() & after.must.keys()
        self._report(table, "missing", must - now.keys())
        self._report(
            table,
            "older than before",
            {key for key in must & now.keys() if now[key] < max(before.must[key], last.get(key, now[key]))},
        )
        if after.may is not None:
            self._report(table, "not of the source", now.keys() - after.may)

    def _report(self, table: str, what: str, keys: set[Key]) -> None:
        if keys:
            self.wrong.append(f"{table}: {len(keys)} rows are {what}, such as {sorted(keys)[:3]}")
