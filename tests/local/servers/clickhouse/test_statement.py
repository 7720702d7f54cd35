"""Parsing a statement: the start of its data, its FORMAT clause, and access to files, which is refused."""

from __future__ import annotations

import contextlib
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.servers.clickhouse.errors import ClickHouseError
from local.servers.clickhouse.statement import Kind, check_structure, guard, parse


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
        (b"INSERT INTO t (select, b) FORMAT CSV\n1,2", b"1,2", "CSV"),
        (b"INSERT INTO select (select) VALUES (1)", b" (1)", "Values"),
    ],
)
def test_the_data_of_an_insert_begins_where_clickhouse_says(text: bytes, data: bytes, fmt: str) -> None:
    statement = parse(text)
    assert statement.kind is Kind.INSERT
    assert text[statement.data :] == data
    assert statement.format == fmt
    assert statement.selection is None


IN = b"input('a Int8, b Enum8(''(x)'' = 1)')"
STRUCTURE = b"'a Int8, b Enum8(''(x)'' = 1)'"


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (b"INSERT INTO t SELECT * FROM " + IN, ()),
        (b"INSERT INTO t (a) SELECT a FROM u AS x, " + IN + b" AS y WHERE y.a = x.a", ()),
        (b"INSERT INTO t (SELECT a FROM " + IN + b")", ()),
        (b"INSERT INTO t (a, b) ((SELECT a FROM " + IN + b") UNION ALL (SELECT 1))", ()),
        (b"INSERT INTO t WITH x AS (SELECT * FROM " + IN + b") SELECT * FROM x", ()),
        (b"WITH x AS (SELECT * FROM " + IN + b") INSERT INTO t SELECT * FROM x", ()),
        (b"INSERT INTO t FROM " + IN + b" SELECT a", ()),
        (b"/* FORMAT A */ INSERT INTO t -- FORMAT B\n SELECT 'FORMAT C' FROM " + IN, ()),
        (b"INSERT INTO t SELECT format, a AS format, b FROM " + IN + b" AS format WHERE format = 1", ()),
        (b"INSERT INTO t SELECT a format FROM " + IN + b" ORDER BY format LIMIT 1", ()),
        (b"INSERT INTO t SELECT settings FROM " + IN + b" WHERE settings IN (1)", ()),
        (b"INSERT INTO t SETTINGS a = 1, b = '(' SELECT * FROM " + IN, (b"a = 1, b = '('",)),
        (b"INSERT INTO t SETTINGS a = 1 (SELECT * FROM " + IN + b")", (b"a = 1",)),
        (b"INSERT INTO t SETTINGS a = 1 SELECT * FROM " + IN + b" SETTINGS b = 2", (b"a = 1", b"b = 2")),
    ],
)
def test_the_data_of_an_insert_that_reads_input(text: bytes, settings: tuple[bytes, ...]) -> None:
    statement = parse(text + b" FORMAT CSV\n1,x")
    assert (statement.kind, statement.format) == (Kind.INSERT, "CSV")
    assert (text + b" FORMAT CSV\n1,x")[statement.data :] == b"1,x"
    assert text[: statement.end] == text
    assert statement.selection is not None
    assert statement.selection.settings == settings
    call = statement.selection.input
    assert call is not None
    assert (text[call.start : call.end], call.structure) == (IN, STRUCTURE)


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO t SELECT 1 FORMAT CSV",
        b"INSERT INTO t SELECT input FROM input FORMAT CSV",
        b"INSERT INTO t (input) SELECT 'input(''a Int8'')' /* FROM input('a') */ FORMAT CSV",
        b"INSERT INTO input (a) SELECT a FROM u FORMAT CSV",
    ],
)
def test_an_insert_that_selects_without_input(text: bytes) -> None:
    statement = parse(text)
    assert statement.kind is Kind.INSERT
    assert statement.selection is not None
    assert statement.selection.input is None


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
        (
            b"WITH insert AS (SELECT 1) SELECT * FROM insert",
            b"WITH insert AS (SELECT 1) SELECT * FROM insert",
            None,
        ),
        (b"WITH 1 AS insert SELECT insert FORMAT TSV", b"WITH 1 AS insert SELECT insert ", "TSV"),
        (b"WITH 1 + insert AS a SELECT a FROM t", b"WITH 1 + insert AS a SELECT a FROM t", None),
        (
            b"WITH RECURSIVE a AS (SELECT 1), insert (n) AS (SELECT 2) SELECT n FROM insert FORMAT CSV",
            b"WITH RECURSIVE a AS (SELECT 1), insert (n) AS (SELECT 2) SELECT n FROM insert ",
            "CSV",
        ),
        (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT TSV", b"(SELECT 1) UNION ALL (SELECT 2) ", "TSV"),
        (b"FROM numbers(3) SELECT number", b"FROM numbers(3) SELECT number", None),
        (
            b"SELECT $a$ ' FORMAT x $a$, x'41', `caf\xc3\xa9`",
            b"SELECT $a$ ' FORMAT x $a$, x'41', `caf\xc3\xa9`",
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
        b"INSERT INTO t SELECT 1 AS format FROM u",
        b"CREATE TABLE input (a Int8) ENGINE = Memory",
        b"INSERT INTO t (a) SETTINGS max_threads = 1 SELECT 1",
        b"WITH 1 AS a INSERT INTO t SELECT a",
        b"WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
        b"WITH insert AS (SELECT 1) INSERT INTO t SELECT * FROM insert",
        b"WITH 1 AS insert INSERT INTO t SELECT insert",
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
        (b"INSERT INTO t SELECT a FROM input('a Int8'), input('b Int8') FORMAT CSV\n1", 477),
        (b"CREATE VIEW v AS SELECT a FROM `inp\\x75t`('a Int8')", 477),
        (b"CREATE TABLE t AS input('a Int8')", 477),
        (b"CREATE MATERIALIZED VIEW v TO t AS SELECT * FROM u JOIN input('a Int8') AS i USING a", 477),
        (b"ALTER TABLE v MODIFY QUERY SELECT * FROM loop(input('a Int8'))", 477),
    ],
)
@pytest.mark.security("statements")
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
        # A comment in a comment is refused.
        inner = text.replace("/", "").rstrip("*")
    sql = f"SELECT {quotes.format(inner)} FORMAT CSV".encode(errors="replace")
    statement = parse(sql)
    assert statement.kind is Kind.QUERY
    assert sql[statement.clause :] == b"FORMAT CSV"


FILE = b"('/etc/hostname')"


@pytest.mark.parametrize(
    "blank",
    [
        "\u00a0",
        "\u1680",
        "\u2003",
        "\u200b",
        "\u2028",
        "\u202f",
        "\u205f",
        "\u2060",
        "\u3000",
        "\ufeff",
        "\0",
        "\x1c",
    ],
)
@pytest.mark.security("statements")
def test_a_blank_that_only_the_engine_takes_for_one(blank: str) -> None:
    """Also where it would part the words of a clause, or a setting from its value."""
    for text in (
        f"SELECT file{blank}('/etc/hostname')",
        f"SELECT 1 INTO{blank}OUTFILE '/tmp/x' TRUNCATE",
        f"ATTACH TABLE a FROM{blank}'/tmp/x' (a Int8) ENGINE = Log",
        f"SELECT 1 SETTINGS{blank}additional_result_filter = 'x'",
    ):
        with pytest.raises(ClickHouseError, match="only ASCII"):
            parse(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "SELECT \u2018it's\u2019".encode(),
        "SELECT 1 AS “file”".encode(),
        "SELECT 1 \u2212 1".encode(),
        "SELECT café".encode(),
        b"SELECT file\\('/etc/hostname')",
        # To the engine the first two comments are one, and the call behind it is no text.
        b"/* /* */ ' */ SELECT file('/etc/hostname') -- '",
        b"SELECT 1 /* never closed",
        b"SELECT 'never closed",
        b"SELECT 'never closed \\'",
        b"SELECT `never closed",
        b'SELECT "never closed ""',
        b"SELECT $a$ never closed $b$",
        b"SELECT x'4 1'",
        b"SELECT x'41\\' , file('/etc/hostname') , '",
    ],
)
@pytest.mark.security("statements")
def test_what_the_engine_could_read_in_another_way_is_refused(text: bytes) -> None:
    with pytest.raises(ClickHouseError) as raised:
        parse(text)
    assert raised.value.code == 62


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT `f\\x69le`" + FILE,
        b'SELECT "\\x66\\x69\\x6c\\x65"' + FILE,
        b"SELECT FILE" + FILE,
        b"SELECT file // comment\n" + FILE,
        b"SELECT file # comment\n" + FILE,
        b"SELECT (file" + FILE + b")",
        b"SELECT * APPLY(`f\\x69le`) FROM t",
        b"SELECT * APPLY((file)) FROM t",
        b"SELECT * APPLY(x -> file(x)) FROM t",
        b"SELECT COLUMNS('a') APPLY file FROM t",
        b"SELECT arrayMap(file, ['/etc/hostname'])",
        b"SELECT arrayMap((`file`), ['/etc/hostname'])",
        b"SELECT arraySort(file AS f, ['/etc/hostname'])",
        b"SELECT mapApply(file, map())",
        b"CREATE TABLE t (a Int8, b String DEFAULT file('/etc/hostname')) ENGINE = Memory",
        b"CREATE TABLE t (a Int8, b String MATERIALIZED `file`('/etc/hostname')) ENGINE = Memory",
        b"CREATE TABLE t (a Int8, CONSTRAINT c CHECK file('/etc/hostname') = '') ENGINE = Memory",
        b"ALTER TABLE t ADD COLUMN b String DEFAULT file('/etc/hostname')",
        b"ALTER TABLE t UPDATE b = file('/etc/hostname') WHERE 1",
        b"CREATE FUNCTION f AS (x) -> file(x)",
        b"CREATE FUNCTION f AS (x) -> arrayMap(file, [x])",
        b"SELECT * FROM format(Values, 'a String', '(file(''/etc/hostname''))')",
        b"SELECT * FROM `f\\x6frmat`('Values', 'a String', '(file(''/etc/hostname''))')",
        b"SELECT * FROM FORMAT(JSONEachRow, 'a String DEFAULT file(''/etc/hostname'')', '{}')",
        b"SELECT * FROM format(concat('Val', 'ues{'), 'a String', '(1)')",
        b"SELECT * FROM eval('SELECT 1')",
        b"SELECT * FROM python(data)",
        b"SELECT * FROM arrowstream('data')",
        b"CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = `d\\x69sk`(type = local)",
        b"CREATE DATABASE d ENGINE = Atomic SETTINGS disk = disk(type = local, path = '/tmp/x')",
        b"ATTACH TABLE a FROM '/tmp/x' (a Int8) ENGINE = Log",
        b"attach /* */ table a uuid 'x' from $$/tmp/x$$ (a Int8) ENGINE = Log",
    ],
)
@pytest.mark.security("statements")
def test_a_function_that_reaches_files_is_found_in_any_spelling_and_place(text: bytes) -> None:
    with pytest.raises(ClickHouseError, match="Not enough privileges") as raised:
        parse(text)
    assert raised.value.code == 497


@pytest.mark.parametrize(
    "clause",
    [b"INTO OUTFILE 'x'", b"into\toutfile $$x$$", b"INTO OUTFILE x'78' TRUNCATE", b"INTO -- a\n OUTFILE 'x'"],
)
@pytest.mark.parametrize(
    "verb",
    [
        b"SELECT 1",
        b"EXPLAIN SELECT 1",
        b"SHOW TABLES",
        b"EXISTS TABLE t",
        b"DESCRIBE TABLE t",
        b"INSERT INTO t SELECT 1",
    ],
)
@pytest.mark.security("statements")
def test_no_statement_writes_a_file(verb: bytes, clause: bytes) -> None:
    with pytest.raises(ClickHouseError) as raised:
        parse(verb + b" " + clause)
    assert raised.value.code == 358


@pytest.mark.security("statements")
def test_an_insert_reads_no_file_in_any_spelling() -> None:
    for name in (b"'x'", b"x'78'", b"$$x$$"):
        with pytest.raises(ClickHouseError) as raised:
            parse(b"INSERT INTO t FROM INFILE " + name + b" FORMAT CSV")
        assert raised.value.code == 78


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1 SETTINGS input_format_values_interpret_expressions = 1",
        b"INSERT INTO t SETTINGS `input_format_values_interpr\\x65t_expressions` = 1 VALUES (1)",
        b"SET input_format_values_deduce_templates_of_expressions = 1",
    ],
)
@pytest.mark.security("statements")
def test_the_settings_of_the_service_itself_are_out_of_reach(text: bytes) -> None:
    with pytest.raises(ClickHouseError) as raised:
        parse(text)
    assert raised.value.code == 452


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO t (file, format, `disk`) FORMAT CSV\n1",
        b"CREATE TABLE t (file String, disk UInt8) ENGINE = Memory",
        b"INSERT INTO outfile SELECT 1",
        b"INSERT INTO format (a) VALUES (1)",
        b"SELECT arrayMap(x -> x, [file]), count(file), arrayMap(f -> f.file, a) FROM t",
        b"SELECT format('{}: {}', a, b), format('{}') FROM t",
        b"SELECT 'file(1).txt', ' INTO OUTFILE ''x'' ' /* file(x) */ -- file(x)",
        b"ALTER TABLE t ATTACH PARTITION ID 'all' FROM u",
        b"SELECT trim(BOTH ' ' FROM 'x'), 1.5e-3, 0x1F, t.1, a ? b : c, [1, 2][1], {x:UInt8}",
        "SELECT 'São Paulo', `coração` FROM \"três\" -- até".encode(),
    ],
)
def test_what_a_client_may_well_send(text: bytes) -> None:
    parse(text)


@pytest.mark.parametrize(
    "text",
    [
        b"'\\" * 200_000,
        b"SELECT '" + b"''" * 200_000,
        b"`" * 400_001,
        b"/*" * 200_000,
        b"/" + b"*/" * 200_000,
        b"".join(b"$a%d$" % number for number in range(60_000)),
        b"SELECT 1 FORMAT " * 25_000,
        b"(" * 400_000,
    ],
    ids=[
        "escapes",
        "doubled quotes",
        "backticks",
        "opened comments",
        "closed comments",
        "heredocs",
        "formats",
        "brackets",
    ],
)
def test_time_grows_with_the_length_and_no_more(text: bytes) -> None:
    """A second or two for 400 KB; hours where each quote is one more look at the rest."""
    began = time.process_time()
    with contextlib.suppress(ClickHouseError):
        parse(text)
    assert time.process_time() - began < 20


def test_memory_does_not_grow_with_the_number_of_tokens() -> None:
    text = b"SELECT 1" + b", 'a'" * 50_000
    tracemalloc.start()
    parse(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(text)


@pytest.mark.parametrize(
    "structure", [b"a Int8) ENGINE = Log --", b"a Int8); DROP TABLE t", b"a Int8 DEFAULT file('x')"]
)
@pytest.mark.security("statements")
def test_a_structure_stays_between_its_parentheses(structure: bytes) -> None:
    check_structure(b"a Int8, b Array(Tuple(x Int8, y Enum8('a)' = 1)))")
    with pytest.raises(ClickHouseError):
        check_structure(structure)
