"""Parsing a statement: the start of its data, its FORMAT clause, and access to files, which is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.servers.clickhouse.errors import ClickHouseError
from local.servers.clickhouse.statement import Kind, guard, parse


@pytest.mark.parametrize(
    ("text", "data", "fmt"),
    [
        (b"INSERT INTO t FORMAT TSV\n1\n2\n", b"1\n2\n", "TSV"),
        (b"INSERT INTO t FORMAT TSV\r\n1\n", b"1\n", "TSV"),
        (b"INSERT INTO t FORMAT TSV 1\n", b"1\n", "TSV"),
        (b"insert into t format Native\n\x01\x01\x00'\"`", b"\x01\x01\x00'\"`", "Native"),
        (b"INSERT INTO t FORMAT CSV\n\n1", b"\n1", "CSV"),
        (b"INSERT INTO t VALUES (1), (2)", b" (1), (2)", "Values"),
        (b"INSERT INTO t (a, b) VALUES(1, ';')", b"(1, ';')", "Values"),
        (b"INSERT INTO format FORMAT CSV\n1", b"1", "CSV"),
        (b"INSERT INTO db.values VALUES (1)", b" (1)", "Values"),
        (b'INSERT INTO TABLE `format`."values" FORMAT CSV\n1', b"1", "CSV"),
        (b"INSERT INTO t (format, values) FORMAT CSV\n1", b"1", "CSV"),
        (b"/* FORMAT A\n */ INSERT -- VALUES\n INTO t # FORMAT X\n FORMAT CSV\n1", b"1", "CSV"),
        (b"INSERT INTO FUNCTION null('a Int32') FORMAT CSV\n1", b"1", "CSV"),
    ],
)
def test_the_data_of_an_insert_begins_where_clickhouse_says(text: bytes, data: bytes, fmt: str) -> None:
    statement = parse(text)
    assert statement.kind is Kind.INSERT
    assert text[statement.data :] == data
    assert statement.format == fmt


def test_a_file_clause_stands_before_the_settings_of_an_insert() -> None:
    text = b"INSERT INTO t (a) SETTINGS max_threads = 1, x = 'FORMAT y' FORMAT CSV\n1"
    statement = parse(text)
    assert text[: statement.clause] == b"INSERT INTO t (a) "
    assert text[statement.clause : statement.end] == b"SETTINGS max_threads = 1, x = 'FORMAT y' "


@pytest.mark.parametrize(
    ("text", "before", "fmt"),
    [
        (b"SELECT 1 FORMAT Native", b"SELECT 1 ", "Native"),
        (b"SELECT 1", b"SELECT 1", None),
        (b"SELECT 1 ; -- end", b"SELECT 1", None),
        (b"SELECT 1 AS FORMAT", b"SELECT 1 AS FORMAT", None),
        (b"SELECT 'FORMAT x'", b"SELECT 'FORMAT x'", None),
        (b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1;", b"SELECT 1 ", "JSON"),
        (b"SELECT 1 SETTINGS max_threads = 1 FORMAT JSON", b"SELECT 1 SETTINGS max_threads = 1 ", "JSON"),
        (b"SELECT format FROM t", b"SELECT format FROM t", None),
        (
            b"WITH x AS (SELECT 1) SELECT * FROM x\n FORMAT Arrow",
            b"WITH x AS (SELECT 1) SELECT * FROM x\n ",
            "Arrow",
        ),
        (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT TSV", b"(SELECT 1) UNION ALL (SELECT 2) ", "TSV"),
        (b"FROM numbers(3) SELECT number", b"FROM numbers(3) SELECT number", None),
        (
            b"SELECT $a$ ' FORMAT x $a$, \xe2\x80\x98it's\xe2\x80\x99",
            b"SELECT $a$ ' FORMAT x $a$, \xe2\x80\x98it's\xe2\x80\x99",
            None,
        ),
    ],
)
def test_a_query_is_split_at_its_format_clause(text: bytes, before: bytes, fmt: str | None) -> None:
    statement = parse(text)
    assert statement.kind is Kind.QUERY
    assert text[: statement.clause] == before
    assert statement.format == fmt


@pytest.mark.parametrize(
    "text",
    [
        b"CREATE TABLE t (a Int8) ENGINE = Memory",
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t (a) SETTINGS max_threads = 1 SELECT 1",
        b"WITH 1 AS a INSERT INTO t SELECT a",
        b"SHOW TABLES",
        b"",
        b" -- nothing",
    ],
)
def test_anything_else_is_run_as_it_is(text: bytes) -> None:
    assert parse(text).kind is Kind.OTHER


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"SELECT 1; SELECT 2", 62),
        (b"INSERT INTO t SELECT 1; DROP TABLE t", 62),
        (b"DROP TABLE t; DROP TABLE u;", 62),
        (b"SELECT 1 INTO OUTFILE '/tmp/x'", 358),
        (b"SELECT 1 into /* */ outfile '/tmp/x' FORMAT CSV", 358),
        (b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", 78),
        (b"SELECT file('/etc/passwd')", 497),
        (b"SELECT `file` ('/etc/passwd')", 497),
        (b"SELECT \"file\"/**/('/etc/passwd')", 497),
        (
            b"CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '/tmp/x')",
            497,
        ),
        (b"SELECT * APPLY(file) FROM t", 497),
        (b"SELECT * APPLY file FROM t", 497),
        (b"CREATE VIEW v AS SELECT file('/etc/passwd')", 497),
        (b"INSERT INTO t SELECT file('/etc/passwd')", 497),
        (b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV\n1", 48),
    ],
)
def test_what_is_refused(text: bytes, code: int) -> None:
    with pytest.raises(ClickHouseError) as raised:
        parse(text)
    assert raised.value.code == code


@pytest.mark.parametrize(
    "text", [b"SELECT 1;", b"SELECT 1;; ", b"SELECT ';'", b"SELECT file, outfile FROM infile"]
)
def test_what_only_looks_like_it_is_not_refused(text: bytes) -> None:
    parse(text)


def test_expressions_among_values_are_looked_through() -> None:
    guard(b"(1, 'file(x)'), (2, now())")
    with pytest.raises(ClickHouseError):
        guard(b"(1, file('/etc/passwd'))")


@given(st.binary(max_size=200))
def test_data_is_never_looked_at(data: bytes) -> None:
    """Even if the data contains quotes, comments or clauses."""
    text = b"INSERT INTO t FORMAT RowBinary\n" + data
    statement = parse(text)
    assert (statement.kind, text[statement.data :]) == (Kind.INSERT, data)


@given(st.text(max_size=40), st.sampled_from(["'{}'", "`{}`", '"{}"', "/*{}*/ 1"]))
def test_text_in_quotes_and_comments_has_no_meaning(text: str, quotes: str) -> None:
    inner = (
        text.replace("\\", "\\\\")
        .replace("'", "\\'")
        .replace("`", "\\`")
        .replace('"', '\\"')
        .replace("*/", "")
    )
    if quotes.startswith("/*"):
        inner = text.replace("*/", "").rstrip("*")
    sql = f"SELECT {quotes.format(inner)} FORMAT CSV".encode(errors="replace")
    statement = parse(sql)
    assert statement.kind is Kind.QUERY
    assert sql[statement.clause :] == b"FORMAT CSV"
