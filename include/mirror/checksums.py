"""Checksums over the rows of a table. Each server computes them itself, so both sides are compared without sending rows.

Each row becomes a text of all its columns. Each value has its length in front, so that two columns can't be mistaken for
one; NULL is `N`. The row's hash is the first half of the text's MD5, as a signed 64-bit number. A bucket holds the number
of its rows and the sum of their hashes; a sum, because with XOR two equal rows would cancel out. The texts of values are
those by which sampled rows are compared (`Carrier.source_text` and `warehouse_text`).

A row's bucket is computed from its key: a single integer key modulo the number of buckets; otherwise four bytes of the MD5
of the key's text, modulo the same. So buckets can be split again and again: with FANOUT times as many buckets, each one is
split into FANOUT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from include.mirror import names
from include.mirror.source import changes
from include.mirror.source.changes import Changes
from include.mirror.source.session import Connection, one, run
from include.mirror.source.table import SourceTable
from include.mirror.spec import TableSpec
from include.mirror.templates import render
from include.mirror.warehouse.client import FINAL, SETTINGS, WIDE
from include.mirror.warehouse.table import WarehouseTable, temporary_name

if TYPE_CHECKING:
    from contextlib import ExitStack

FANOUT = 128
"""The first number of buckets, and into how many each differing bucket is split."""

CHUNK_SECONDS = 0.25
"""About how many seconds one statement reads in the source."""

FIRST_PAGES = 64
"""How many pages the first statement reads. Few, because their time is not known yet."""

KEYS_AT_ONCE = 2000
"""How many keys one statement looks up in the source."""

TID_RANGES = 140000
"""The first PostgreSQL version that scans a range of ctids without reading other pages."""

Key = tuple[str, ...]
"""A key: the texts of its columns, as both servers print them for comparison."""


class Bucket(NamedTuple):
    """A bucket's number of rows and the sum of their hashes."""

    rows: int
    total: int


class Row(NamedTuple):
    """The hash of one row, None if there is no row, and a `mark` that differs between states of the row.

    `mark` is the writer's transaction id in the source, and the newest version in the warehouse; 0 if there is none.
    """

    hash: int | None
    mark: int = 0


ABSENT = Row(None)


@dataclass(frozen=True)
class Expressions:
    """One server's SQL expressions for a table's rows: the texts of the key's columns, the row's hash, and the number whose
    remainder is the bucket."""

    key: tuple[str, ...]
    hash: str
    number: str

    def bucket(self, buckets: int) -> str:
        """Return the expression of a row's bucket among this many buckets."""
        return f"({self.number}) % {buckets}"


def of_source(spec: TableSpec, encoding: str) -> Expressions:
    """Return PostgreSQL's expressions. `encoding` is the database's encoding."""
    utf8 = encoding == "UTF8"

    def size(text: str) -> str:
        return f"octet_length({text})" if utf8 else f"octet_length(convert_to({text}, 'UTF8'))"

    def digest(text: str, digits: int) -> str:
        whole = text if utf8 else f"convert_to({text}, 'UTF8')"
        return f"substr(md5({whole}), 1, {digits})"

    def joined(texts: Sequence[str]) -> str:
        return " || ".join(f"coalesce({size(text)}::text || ':' || {text}, 'N')" for text in texts)

    texts = {column.name: f"({column.carrier.source_text(names.pg(column.name))})" for column in spec.columns}
    key = tuple(texts[name] for name in spec.key)
    number = (
        f"{names.pg(spec.integer_key)}::bigint"
        if spec.integer_key
        else f"('x' || {digest(f'({joined(key)})', 8)})::bit(32)::bigint"
    )
    row = f"({joined(list(texts.values()))})"
    return Expressions(key, f"('x' || {digest(row, 16)})::bit(64)::bigint", number)


def of_warehouse(spec: TableSpec) -> Expressions:
    """Return ClickHouse's expressions, equal to those of `of_source`."""

    def joined(texts: Sequence[str]) -> str:
        parts = [f"ifNull(concat(toString(length({text})), ':', {text}), 'N')" for text in texts]
        # concat of a single argument is an error in some versions.
        return f"concat('', {', '.join(parts)})"

    texts = {column.name: column.carrier.warehouse_text(names.ch(column.name)) for column in spec.columns}
    key = tuple(texts[name] for name in spec.key)
    number = (
        f"toInt64({names.ch(spec.integer_key)})"
        if spec.integer_key
        else f"toInt64(reinterpretAsUInt32(reverse(substring(MD5({joined(key)}), 1, 4))))"
    )
    return Expressions(
        key, f"reinterpretAsInt64(reverse(substring(MD5({joined(list(texts.values()))}), 1, 8)))", number
    )


@dataclass
class Throttle:
    """Limits the load on the source: statements run for at most `share` (above 0, at most 1) of the time.

    Counts the statements, and notes the seconds of the `longest`. `pages` is how many pages the next statement should read.
    """

    share: float
    sleep: Callable[[float], None]
    statements: int = 0
    longest: float = 0.0
    pages: int = FIRST_PAGES

    def read(self, connection: Connection, query: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run one statement, then sleep as long as the share requires."""
        began = monotonic()
        rows = run(connection, query, parameters).fetchall()
        seconds = monotonic() - began
        self.statements += 1
        self.longest = max(self.longest, seconds)
        # Move towards CHUNK_SECONDS, by a factor of at most four at once, because pages differ in their content.
        factor = CHUNK_SECONDS / max(seconds, CHUNK_SECONDS / 100)
        self.pages = max(1, int(self.pages * min(4.0, max(0.25, factor))))
        if self.share < 1:
            self.sleep(seconds * (1 - self.share) / self.share)
        return rows


@dataclass(frozen=True)
class SourceRows:
    """A table of the source in one session's snapshot, read in pieces."""

    table: SourceTable
    throttle: Throttle

    @property
    def expressions(self) -> Expressions:
        """PostgreSQL's expressions."""
        encoding = self.table.connection.info.parameter_status("server_encoding") or "UTF8"
        return of_source(self.table.spec, encoding)

    def buckets(self, buckets: int, within: tuple[int, Sequence[int]] | None = None) -> dict[int, Bucket]:
        """Return each bucket that has rows, by number. `within` limits the rows: (a number of buckets, some of these)."""
        sql = self.expressions
        totals: dict[int, list[int]] = {}
        for number, rows, total in self._pieces(
            f"SELECT bucket, count(*), sum(hash)::text FROM (SELECT {sql.bucket(buckets)} AS bucket, {sql.hash} AS hash",  # noqa: S608
            ") AS rows GROUP BY bucket",
            within,
        ):
            entry = totals.setdefault(number, [0, 0])
            entry[0] += rows
            entry[1] += int(total)
        return {number: Bucket(*entry) for number, entry in totals.items()}

    def rows(self, buckets: int, within: Sequence[int]) -> dict[Key, Row]:
        """Return the rows of the buckets `within`, out of this many buckets, by key."""
        sql = self.expressions
        columns = ", ".join((*sql.key, sql.hash, self._writer))
        return _by_key(self._pieces(f"SELECT {columns}", "", (buckets, within)))

    def of_keys(self, keys: Sequence[Key], wanted: Changes = changes.EVERYTHING) -> dict[Key, Row]:
        """Return the rows with these keys that `wanted` selects, by key."""
        sql = self.expressions
        return _by_key(self._with_keys((*sql.key, sql.hash, self._writer), keys, wanted))

    def texts(self, keys: Sequence[Key]) -> dict[Key, Key]:
        """Return the rows with these keys, by key, with all columns as texts."""
        spec = self.table.spec
        texts = [column.carrier.source_text(names.pg(column.name)) for column in spec.columns]
        found = self._with_keys(texts, keys)
        return {tuple(row[place] for place in spec.key_places): tuple(row) for row in found}

    def _with_keys(
        self, selected: Sequence[str], keys: Sequence[Key], wanted: Changes = changes.EVERYTHING
    ) -> list[tuple[Any, ...]]:
        spec = self.table.spec
        arrays = [f"${number + 1}::text[]" for number in range(len(spec.key))]
        query = (
            f"SELECT {', '.join(selected)} FROM {self.table.relation}"  # noqa: S608
            f" WHERE {changes.having_keys(spec, arrays)} AND ({wanted.condition})"
        )
        if wanted.values:
            run(self.table.connection, *changes.binding(wanted.values))
        found: list[tuple[Any, ...]] = []
        for first in range(0, len(keys), KEYS_AT_ONCE):
            parts = zip(*keys[first : first + KEYS_AT_ONCE], strict=True)
            found += self.throttle.read(self.table.connection, query, [list(part) for part in parts])
        return found

    @property
    def _writer(self) -> str:
        return "xmin::text::bigint" if self.table.spec.way != "copy" else "0"

    def _pieces(
        self, head: str, tail: str, within: tuple[int, Sequence[int]] | None
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, for one range of the table's pages after the other.

        The query is `head`, then FROM and WHERE, then `tail`.
        """

        def query(condition: str) -> str:
            return f"{head} FROM {self.table.relation} WHERE {condition}{tail}"

        wanted, parameters = "TRUE", list[object]()
        if within is not None:
            wanted = f"{self.expressions.bucket(within[0])} = ANY ($1::bigint[])"
            parameters = [list(within[1])]
        connection, spec = self.table.connection, self.table.spec
        if spec.kind not in ("r", "p") or spec.way == "copy" or connection.info.server_version < TID_RANGES:
            yield from self.throttle.read(connection, query(wanted), parameters)
            return
        (pages,) = one(connection, render("read_pages"), (spec.oid, spec.only))
        first = len(parameters) + 1
        start = 0
        while True:
            end = start + self.throttle.pages
            condition = f"ctid >= ${first}::tid AND {wanted}"
            bounds: list[object] = [*parameters, f"({start},0)"]
            if end < pages:
                condition = f"ctid < ${first + 1}::tid AND {condition}"
                bounds.append(f"({end},0)")
            yield from self.throttle.read(connection, query(condition), bounds)
            if end >= pages:
                return
            start = end


@dataclass(frozen=True)
class WarehouseRows:
    """The current rows of a table of the warehouse."""

    table: WarehouseTable

    def buckets(self, buckets: int, within: tuple[int, Sequence[int]] | None = None) -> dict[int, Bucket]:
        """Return each bucket that has rows, by number. `within` limits the rows: (a number of buckets, some of these)."""
        sql = of_warehouse(self.table.spec)
        condition = "" if within is None else f" WHERE {_among(sql, *within)}"
        rows = self.table.client.query(
            f"SELECT {sql.bucket(buckets)} AS bucket, count(), toString(sum(toInt128({sql.hash})))"  # noqa: S608
            f" FROM {self.table.name} FINAL{condition} GROUP BY bucket",
            settings=WIDE | FINAL,
        ).result_rows
        return {number: Bucket(count, int(total)) for number, count, total in rows}

    def rows(self, buckets: int, within: Sequence[int]) -> dict[Key, Row]:
        """Return the rows of the buckets `within`, out of this many buckets, by key, with their versions."""
        return self._rows(_among(of_warehouse(self.table.spec), buckets, within))

    def of_keys(self, keys: KeysTable) -> dict[Key, Row]:
        """Return the rows with these keys, by key. The mark is the key's newest version, which may be a tombstone's."""
        sql, own = of_warehouse(self.table.spec), self.table.own
        newest = self.table.client.query(
            f"SELECT {', '.join(sql.key)}, max({names.ch(own.version)}) FROM {self.table.name}"  # noqa: S608
            f" WHERE {keys.condition} GROUP BY {', '.join(sql.key)}",
            settings=WIDE,
        ).result_rows
        found = {tuple(row[:-1]): Row(None, row[-1]) for row in newest}
        return found | {
            key: Row(row.hash, max(row.mark, found[key].mark if key in found else 0))
            for key, row in self._rows(keys.condition).items()
        }

    def texts(self, keys: KeysTable) -> dict[Key, Key]:
        """Return the current rows with these keys, by key, with all columns as texts."""
        spec = self.table.spec
        texts = [column.carrier.warehouse_text(names.ch(column.name)) for column in spec.columns]
        found = self.table.client.query(
            f"SELECT {', '.join(texts)} FROM {self.table.name} FINAL WHERE {keys.condition}",  # noqa: S608
            settings=WIDE | FINAL,
        ).result_rows
        return {tuple(row[place] for place in spec.key_places): tuple(row) for row in found}

    def _rows(self, condition: str) -> dict[Key, Row]:
        sql = of_warehouse(self.table.spec)
        columns = ", ".join((*sql.key, sql.hash, names.ch(self.table.own.version)))
        found = self.table.client.query(
            f"SELECT {columns} FROM {self.table.name} FINAL WHERE {condition}",  # noqa: S608
            settings=WIDE | FINAL,
        ).result_rows
        return _by_key(found)


def _by_key(found: Iterable[Sequence[Any]]) -> dict[Key, Row]:
    """Return rows by key. Each result row holds the texts of the key, the hash and the mark.

    Rows with the same key, as damage by hand can leave them, become one with the sum of their hashes and the highest mark.
    """
    rows: dict[Key, Row] = {}
    for *key, value, mark in found:
        before = rows.get(tuple(key))
        rows[tuple(key)] = (
            Row(value, mark) if before is None else Row((before.hash or 0) + value, max(before.mark, mark))
        )
    return rows


def _among(sql: Expressions, buckets: int, within: Sequence[int]) -> str:
    """Return the condition for rows in the buckets `within`, out of this many buckets.

    The numbers are written into the statement: there may be too many for a parameter.
    """
    return f"{sql.bucket(buckets)} IN ({', '.join(map(str, within))})"


@dataclass(frozen=True)
class KeysTable:
    """Keys in a temporary table of the warehouse, because a URL could not hold them."""

    table: WarehouseTable
    name: str

    @property
    def condition(self) -> str:
        """The condition for rows that have one of these keys."""
        spec = self.table.spec
        texts = of_warehouse(spec).key
        columns = ", ".join(f"k{number}" for number in range(len(texts)))
        found = f"({', '.join(texts)}) IN (SELECT {columns} FROM {self.name})"  # noqa: S608
        if spec.integer_key:
            # Also by the number, so that ClickHouse uses the table's primary key.
            kind = spec.key_columns[0].warehouse_type
            found += f" AND {names.ch(spec.integer_key)} IN (SELECT CAST(k0 AS {kind}) FROM {self.name})"  # noqa: S608
        return found


def put_keys(table: WarehouseTable, label: str, keys: Sequence[Key], stack: ExitStack) -> KeysTable:
    """Put keys into a temporary table of the warehouse. It is dropped when `stack` ends."""
    name = temporary_name(table.spec.name, f"{label}_keys")
    quoted = names.ch(table.warehouse.storage, name)
    columns = [f"k{number}" for number in range(len(table.spec.key))]
    table.client.command(
        f"CREATE TABLE {quoted} ({', '.join(f'{column} String' for column in columns)}) ENGINE = MergeTree ORDER BY tuple()",
        settings=SETTINGS,
    )
    stack.callback(table.drop_stage, quoted)
    table.warehouse.insert(table.client, name, [dict(zip(columns, key, strict=True)) for key in keys])
    return KeysTable(table, quoted)


def differing(ours: Mapping[int, Bucket], theirs: Mapping[int, Bucket]) -> list[int]:
    """Return the numbers of the buckets that differ between both sides."""
    return sorted(number for number in ours.keys() | theirs.keys() if ours.get(number) != theirs.get(number))
