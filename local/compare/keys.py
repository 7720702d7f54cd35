"""Finds the rows that differ: first the differing parts of a table, then the differing rows of these parts.

Both servers compute the sums of the parts themselves, so only the rows of a few parts are sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from include.mirror.names import ch
from local.compare.catalog import Source, SourceTable
from local.compare.values import Pair, header

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

PART_ROWS = 1_000
MOST_PARTS = 100_000
_HASH_DIGITS = 8
_LONGEST = 60
_LONG = 50_000


@dataclass(frozen=True)
class KeyDifference:
    """A differing row: its key, how many rows each server has with it, and the columns whose values differ."""

    key: str
    source_rows: int
    warehouse_rows: int
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.warehouse_rows:
            return f"{self.key} is missing in ClickHouse"
        if not self.source_rows:
            return f"{self.key} is only in ClickHouse"
        if self.source_rows != self.warehouse_rows:
            return f"{self.key} is {_times(self.warehouse_rows)} in ClickHouse, {_times(self.source_rows)} in PostgreSQL"
        return f"{self.key} differs{' in ' if self.columns else ''}{', '.join(self.columns)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


class RefusedError(Exception):
    """A server refused a query of one table. The message is the server's."""


@dataclass(frozen=True)
class Both:
    """A table on both servers, and how its columns are compared. `view` is (database, name) in ClickHouse."""

    source: Source
    warehouse: Client
    table: SourceTable
    view: tuple[str, str]
    pairs: Sequence[Pair]

    def ask_source(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query without parameters. Raise RefusedError if the server refuses it."""
        try:
            # In a savepoint, so that a failing statement does not abort the whole transaction.
            with self.source.transaction():
                return self.source.execute(query.encode()).fetchall()
        except psycopg.Error as error:
            if self.source.closed:
                raise
            raise RefusedError(f"PostgreSQL: {error.diag.message_primary or error}") from None

    def ask_warehouse(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query without parameters. Raise RefusedError if the server refuses it."""
        # ClickHouse's default limits are too small for the queries of a table with hundreds of columns.
        settings = {"max_query_size": 1 << 24, "max_ast_elements": 1 << 20} if len(query) > _LONG else None
        try:
            return list(self.warehouse.query(query, settings=settings).result_rows)
        except OperationalError:
            raise
        except DatabaseError as error:
            # The server's message, without the client's text around it.
            found = re.search(r"DB::Exception: (.*?)(?: \(version [^)]*\).*)?$", str(error).splitlines()[0])
            raise RefusedError(f"ClickHouse: {found[1] if found else error}") from None


def source_record(pairs: Iterable[Pair]) -> str:
    """Return the PostgreSQL expression of the bytes of a row's columns."""
    return f"record_send(ROW({', '.join(pair.source for pair in pairs)}))"


def warehouse_record(pairs: Sequence[Pair]) -> str:
    """Return the ClickHouse expression of the same bytes."""
    return _concat([header(len(pairs)), *(pair.warehouse for pair in pairs)])


def _concat(parts: Iterable[str]) -> str:
    # An empty text is added, because concat needs two arguments.
    return f"concat('', {', '.join(parts)})"


def source_content(pairs: Sequence[Pair]) -> str:
    """Return the PostgreSQL aggregate of the rows' content: the sum of the first 64 bits of each row's MD5."""
    return f"coalesce(sum(('x' || left(md5({source_record(pairs)}), 16))::bit(64)::bigint), 0)::text"


def warehouse_content(pairs: Sequence[Pair]) -> str:
    """Return the ClickHouse aggregate of `source_content`."""
    digits = f"reverse(substring(MD5({warehouse_record(pairs)}), 1, 8))"
    return f"toString(sum(toInt128(reinterpretAsInt64({digits}))))"


def differing_keys(both: Both, key: Sequence[str], rows: int, limit: int) -> tuple[list[KeyDifference], bool]:
    """Return up to `limit` differing rows, and whether there are more.

    `rows` is the number of rows of the larger side. Memory holds the rows of `limit` parts. A part has about 1,000 rows, in
    tables of up to 100 million rows.
    """
    named = {pair.name: pair for pair in both.pairs}
    keys = [named[name] for name in key]
    content = source_content(both.pairs), warehouse_content(both.pairs)
    parts = min(max(rows // PART_ROWS, 1), MOST_PARTS)
    source_part = f"('x' || left(md5({source_record(keys)}), 15))::bit(60)::bigint % {parts}"
    digest = f"MD5({warehouse_record(keys)})"
    warehouse_part = f"bitShiftRight(reinterpretAsUInt64(reverse(substring({digest}, 1, 8))), 4) % {parts}"
    table, view = both.table.sql, ch(*both.view)
    differing = [0]
    if parts > 1:
        ours = both.ask_source(f"SELECT {source_part}, count(*), {content[0]} FROM {table} GROUP BY 1")  # noqa: S608
        theirs = both.ask_warehouse(
            f"SELECT {warehouse_part}, count(), {content[1]} FROM {view} GROUP BY {warehouse_part}"  # noqa: S608
        )
        differing = sorted({part for part, *_ in set(ours) ^ set(theirs)})
    if not differing:
        return [], False
    chosen = ", ".join(map(str, differing[:limit]))
    ours = both.ask_source(
        f"SELECT md5({source_record(keys)}), count(*), {content[0]}, "  # noqa: S608
        f"min(ARRAY[{', '.join(pair.source_shown for pair in keys)}]), min({_source_columns(both.pairs)}) "
        f"FROM {table} WHERE {source_part} IN ({chosen}) GROUP BY 1"
    )
    theirs = both.ask_warehouse(
        f"SELECT lower(hex({digest})), count(), {content[1]}, "  # noqa: S608
        f"any([{', '.join(pair.warehouse_shown for pair in keys)}]), any({_warehouse_columns(both.pairs)}) "
        f"FROM {view} WHERE {warehouse_part} IN ({chosen}) GROUP BY {digest}"
    )
    found = _differences(both, key, ours, theirs)
    return found[:limit], len(found) > limit or len(differing) > limit


def _differences(
    both: Both, key: Sequence[str], ours: Iterable[Sequence[Any]], theirs: Iterable[Sequence[Any]]
) -> list[KeyDifference]:
    in_source = {digest: rest for digest, *rest in ours}
    in_warehouse = {digest: rest for digest, *rest in theirs}
    found = []
    for digest in in_source.keys() | in_warehouse.keys():
        our_rows, our_content, our_key, our_columns = in_source.get(digest, (0, "0", None, ""))
        their_rows, their_content, their_key, their_columns = in_warehouse.get(digest, (0, "0", None, ""))
        if (our_rows, our_content) == (their_rows, their_content):
            continue
        columns = [
            pair.name
            for number, pair in enumerate(both.pairs)
            if our_rows and their_rows and _hash(our_columns, number) != _hash(their_columns, number)
        ]
        values = our_key or their_key or ()
        text = ", ".join(f"{name}={_readable(value)}" for name, value in zip(key, values, strict=False))
        found.append(KeyDifference(text, our_rows, their_rows, tuple(columns)))
    # Shorter texts first, so that numbers are mostly in numeric order.
    return sorted(found, key=lambda one: (len(one.key), one.key))


def _readable(value: str | None) -> str:
    """Return a value on one line: unchanged if it is simple, else in quotes with invisible characters escaped."""
    if value is None:
        return "NULL"
    if len(value) <= _LONGEST and re.fullmatch(r"[\w.:+-]+", value):
        return value
    return repr(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…")


def _source_columns(pairs: Sequence[Pair]) -> str:
    """Return the PostgreSQL expression of the first digits of each column's MD5, joined."""
    hashes = (f"left(md5({source_record([pair])}), {_HASH_DIGITS})" for pair in pairs)
    # concat() takes at most 100 arguments.
    return f"array_to_string(ARRAY[{', '.join(hashes)}], '')"


def _warehouse_columns(pairs: Sequence[Pair]) -> str:
    bytes_ = _HASH_DIGITS // 2
    hashes = (f"lower(hex(substring(MD5({warehouse_record([pair])}), 1, {bytes_})))" for pair in pairs)
    return _concat(hashes)


def _hash(columns: str, number: int) -> str:
    return columns[number * _HASH_DIGITS : (number + 1) * _HASH_DIGITS]
