"""A search for statements that reach a file: thousands of random ones against the service, and a file that none may show.

The seed is in the summary of `make test-security`; SECURITY_SEED repeats it.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.campaign import Campaign
from tests.local.servers.clickhouse.conftest import Raw

STATEMENTS = 3000
SECRET = "the-secret-in-the-file"
BLANKS = (
    *("", " ", "\t", "\n", "\x0b", "\x0c", "/**/", "/* */", "--\n", "#\n", "//\n", "\\"),
    *("\u00a0", "\u2003", "\u200b", "\ufeff", "\u3000", "\0", "\x1c", "\u2028"),
)
NAMES = (
    *(
        "file",
        "FILE",
        "`file`",
        '"file"',
        "`f\\x69le`",
        '"\\x66ile"',
        "(file)",
        "f\u0131le",
        "file()",
        "default.file",
    ),
    *(
        "url",
        "s3",
        "executable",
        "loop",
        "view",
        "merge",
        "remote",
        "disk",
        "eval",
        "format",
        "input",
        "dictionary",
    ),
)
QUOTES = ("'{}'", "$${}$$", "$a${}$a$", "`{}`", '"{}"', "concat('', '{}')", "x'{hex}'", "unhex('{hex}')")
AROUND = (
    "SELECT {call}",
    "SELECT * FROM {call}",
    "SELECT * FROM ({call})",
    "SELECT * FROM (SELECT {call})",
    "WITH {call} AS a SELECT a",
    "WITH a AS (SELECT {call}) SELECT * FROM a",
    "SELECT 1 WHERE {call} != ''",
    "SELECT 1 ORDER BY {call}",
    "SELECT 1 FORMAT{blank}Template SETTINGS{blank}format_template_row{blank}={blank}{text}",
    "SELECT 1 SETTINGS{blank}additional_result_filter = {text}",
    "SELECT 1{blank}INTO{blank}OUTFILE{blank}{made}",
    "SELECT 1 INTO OUTFILE {made}{blank}TRUNCATE",
    "EXPLAIN{blank}SELECT 1 INTO{blank}OUTFILE {made}",
    "EXPLAIN SELECT {call}",
    "DESCRIBE TABLE {call}",
    "DESCRIBE{blank}(SELECT {call})",
    "SELECT arrayMap(x -> {call}, [1])",
    "SELECT arrayMap({name}, [{text}])",
    "SELECT * APPLY({name}) FROM (SELECT {text})",
    "SELECT * FROM format(Values, 'a String', $$({call})$$)",
    "SELECT * FROM values('a String', {call})",
    "CREATE TABLE {table} (a String DEFAULT {call}) ENGINE = Memory",
    "CREATE VIEW {table} AS SELECT {call}",
    "CREATE TABLE {table} ENGINE = Memory AS SELECT {call}",
    "CREATE TABLE {table} (a String) ENGINE = File(CSV, {text})",
    "CREATE DICTIONARY {table} (a String) PRIMARY KEY a SOURCE(FILE(path {text} format CSV)) LAYOUT(FLAT()) LIFETIME(0)",
    "CREATE FUNCTION {table} AS (x) -> {call}",
    "CREATE DATABASE {table} ENGINE = Filesystem({text})",
    "CREATE TABLE {table} (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = {made})",
    "ATTACH TABLE {table} FROM{blank}{text} (a String) ENGINE = Log",
    "BACKUP TABLE system.one TO File({made})",
    "INSERT INTO{blank}FUNCTION {call} SELECT 1",
    "INSERT INTO FUNCTION file({made}, 'CSV', 'a String') SELECT 1",
    "INSERT INTO kept SELECT {call}",
    "INSERT INTO kept VALUES ({call})",
    "INSERT INTO kept FROM{blank}INFILE{blank}{text} FORMAT CSV",
    "ALTER TABLE kept UPDATE a = {call} WHERE 1",
    "SYSTEM{blank}RELOAD CONFIG",
    "SET{blank}format_schema = {text}",
    "{call}",
)


def hostile(chance: random.Random, number: int, secret: Path, made: Path) -> bytes:
    """Return one statement, mostly of a form that would reach a file if it were accepted."""

    def quoted(path: Path) -> str:
        return chance.choice(QUOTES).format(path, hex=str(path).encode().hex())

    name, blank = chance.choice(NAMES), chance.choice(BLANKS)
    arguments = (quoted(secret), *chance.choice(((), ("'LineAsString'",), ("'CSV'", "'a String'"))))
    call = f"{name}{blank}({blank}{', '.join(arguments)})"
    text = chance.choice(AROUND).format(
        call=call, name=name, blank=blank, text=quoted(secret), made=quoted(made), table=f"t{number}"
    )
    if chance.random() < 0.3:
        where = chance.randrange(len(text) + 1)
        text = text[:where] + chance.choice((*BLANKS, "'", "`", "(", ";", "*/", "$$")) + text[where:]
    return text.encode()


@pytest.mark.security
@pytest.mark.soak
def test_no_statement_shows_a_file_or_writes_one(
    raw: Raw, database: str, tmp_path: Path, campaign: Campaign, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(seed)
    secret, made = tmp_path / "secret.csv", tmp_path / "made"
    secret.write_text(SECRET)
    raw.request(
        "POST", {"database": database}, body=b"CREATE TABLE kept (a String) ENGINE = MergeTree ORDER BY a"
    )
    results: Counter[str] = Counter()
    for number in range(STATEMENTS):
        statement = hostile(chance, number, secret, made)
        by_get = chance.random() < 0.2
        parameters = {"database": database, **({"query": statement.decode()} if by_get else {})}
        answer = raw.request("GET" if by_get else "POST", parameters, body=b"" if by_get else statement)
        assert SECRET.encode() not in answer.body, (seed, statement)
        assert not made.exists(), (seed, statement)
        if answer.status == 200:
            results["let through"] += 1
        else:
            # The kernel refuses a file with this: reading the statement, and the grants, have not.
            results["by the kernel" if b"Permission denied" in answer.body else "refused"] += 1
    found = raw.request(
        "POST", {"database": database}, body=f"SELECT count() FROM kept WHERE a = '{SECRET}'".encode()
    )
    assert (found.status, found.body) == (200, b"0\n")
    campaign.refused("statements", results["refused"] + results["by the kernel"])
    campaign.let_through("statements", results["let through"])
    with capsys.disabled():
        print(f"\nstatements with seed {seed}: {dict(results)}")
