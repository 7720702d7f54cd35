"""Password, errors with codes and statuses, headers, and the machine's files, which clients must not reach."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from local.servers.clickhouse import ClickHouse
from tests.local.servers.clickhouse.conftest import Raw


def lower(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def fetch(
    server: ClickHouse, path: str, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    request = Request(f"http://127.0.0.1:{server.port}{path}", headers=headers or {})
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, lower(answer.headers.items()), answer.read()
    except HTTPError as error:
        with error:
            return error.code, lower(error.headers.items()), error.read()


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def test_three_ways_to_say_who_one_is(clickhouse: ClickHouse) -> None:
    user, password = clickhouse.user, clickhouse.password
    one = "/?query=SELECT%201"
    for path, headers in (
        (one, basic(user, password)),
        (one, {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}),
        (f"{one}&user={user}&password={password}", {}),
    ):
        assert fetch(clickhouse, path, headers)[0::2] == (200, b"1\n")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-ClickHouse-User": "default"},
        {"X-ClickHouse-User": "vendas", "X-ClickHouse-Key": "wrong"},
        basic("vendas", ""),
        basic("someone", "else"),
        {"Authorization": "Bearer abc"},
        {"Authorization": "Basic %%%"},
    ],
    ids=["nobody", "no password", "wrong password", "empty password", "wrong user", "bearer", "no base64"],
)
@pytest.mark.security("requests")
def test_anyone_else_is_refused(clickhouse: ClickHouse, headers: dict[str, str]) -> None:
    status, answered, body = fetch(clickhouse, "/?query=SELECT%201", headers)
    assert (status, answered["x-clickhouse-exception-code"]) == (403, "516")
    assert b"AUTHENTICATION_FAILED" in body
    assert clickhouse.password.encode() not in body


def test_two_ways_at_once_are_refused(clickhouse: ClickHouse) -> None:
    path = f"/?query=SELECT%201&user={clickhouse.user}&password={clickhouse.password}"
    assert fetch(clickhouse, path, basic(clickhouse.user, clickhouse.password))[0] == 403


def test_a_client_with_a_wrong_password(clickhouse: ClickHouse) -> None:
    with pytest.raises(DatabaseError, match="Authentication failed") as raised:
        get_client(host="127.0.0.1", port=clickhouse.port, username=clickhouse.user, password="wrong")
    assert raised.value.code == 516


def test_ping_is_open_and_nothing_else_is(clickhouse: ClickHouse) -> None:
    assert fetch(clickhouse, "/ping")[0::2] == (200, b"Ok.\n")
    assert fetch(clickhouse, "/")[0::2] == (200, b"Ok.\n")
    assert fetch(clickhouse, "/metrics")[0] == 404


def test_the_secret_is_in_no_argument_and_no_log(clickhouse: ClickHouse, client: Client) -> None:
    assert clickhouse.password not in " ".join(clickhouse.command())
    assert clickhouse.password not in clickhouse.log.read_text()
    for file in (clickhouse.data / "service").glob("*.xml"):
        assert clickhouse.password not in file.read_text()


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT * FROM nowhere", 404, 60, "UNKNOWN_TABLE"),
        ("SELECT * FROM nowhere.t", 404, 81, "UNKNOWN_DATABASE"),
        ("SELECT missing", 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT missing()", 404, 46, "UNKNOWN_FUNCTION"),
        ("SELECT 1 FORMAT Missing", 404, 73, "UNKNOWN_FORMAT"),
        ("SELEC 1", 400, 62, "SYNTAX_ERROR"),
        ("misspelt", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 400, 62, "SYNTAX_ERROR"),
        ("SELECT {x:UInt8}", 500, 456, "UNKNOWN_QUERY_PARAMETER"),
        ("SELECT toUInt8('x')", 400, 6, "CANNOT_PARSE_TEXT"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.1", 408, 159, "TIMEOUT_EXCEEDED"),
        ("DROP TABLE nowhere", 404, 60, "UNKNOWN_TABLE"),
        ("CREATE TABLE t (a Missing) ENGINE = Memory", 404, 50, "UNKNOWN_TYPE"),
        # A server answers code 56 for a missing engine; here, a missing engine is not granted.
        ("CREATE TABLE t (a UInt8) ENGINE = Missing", 403, 497, "ACCESS_DENIED"),
        ("INSERT INTO nowhere VALUES (1)", 404, 60, "UNKNOWN_TABLE"),
    ],
)
def test_errors_as_a_server_gives_them(raw: Raw, sql: str, status: int, code: int, name: str) -> None:
    answer = raw.request("POST", {}, body=sql.encode())
    text = answer.body.decode()
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (status, str(code)), text
    assert text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version 26." in text
    assert "/dev/fd" not in text


def test_a_get_only_reads(raw: Raw, client: Client) -> None:
    answer = raw.request(
        "GET", {"query": "CREATE TABLE t (a UInt8) ENGINE = Memory", "database": client.database}
    )
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "164")
    assert raw.request("GET", {"query": "SHOW DATABASES"}).status == 200
    with pytest.raises(DatabaseError, match="readonly"):
        client.command("CREATE TABLE t (a UInt8) ENGINE = Memory", settings={"readonly": 1})


def test_headers_of_an_answer(raw: Raw) -> None:
    answer = raw.request("POST", {"query": "SELECT number FROM numbers(3) FORMAT JSON", "query_id": "mine"})
    assert answer.headers["x-clickhouse-query-id"] == "mine"
    assert answer.headers["x-clickhouse-format"] == "JSON"
    assert answer.headers["x-clickhouse-timezone"] == "UTC"
    assert answer.headers["content-type"].startswith("application/json")
    assert int(json.loads(answer.headers["x-clickhouse-summary"])["read_rows"]) == 3
    assert "x-clickhouse-format" not in raw.request("POST", {"query": "SET max_threads = 1"}).headers
    zoned = raw.request("POST", {"query": "SELECT toDateTime(0)", "session_timezone": "America/Sao_Paulo"})
    assert (zoned.headers["x-clickhouse-timezone"], zoned.body) == (
        "America/Sao_Paulo",
        b"1969-12-31 21:00:00\n",
    )


def test_a_client_s_text_adds_no_header(raw: Raw) -> None:
    answer = raw.request(
        "POST", {"query": "SELECT 1", "query_id": "a\r\nX-Evil: 1", "session_timezone": "UTC"}
    )
    assert "x-evil" not in answer.headers


def test_the_default_format(raw: Raw) -> None:
    for parameters, headers in (
        ({"default_format": "JSONEachRow"}, {}),
        ({}, {"X-ClickHouse-Format": "JSONEachRow"}),
    ):
        answer = raw.request("POST", {"query": "SELECT 1 AS a", **parameters}, headers)
        assert (answer.headers["x-clickhouse-format"], answer.body) == ("JSONEachRow", b'{"a":1}\n')


def test_the_statement_may_stand_in_the_url_the_body_or_both(raw: Raw) -> None:
    assert raw.request("POST", {}, body=b"SELECT 1").body == b"1\n"
    assert raw.request("POST", {"query": "SELECT 1 +"}, body=b"1").body == b"2\n"


@pytest.mark.parametrize("parameters", [{"compress": "1"}, {"decompress": "1"}])
def test_clickhouse_s_own_compression_is_refused_by_name(raw: Raw, parameters: dict[str, str]) -> None:
    answer = raw.request("POST", {"query": "SELECT 1", **parameters})
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (501, "48")
    assert next(iter(parameters)).encode() in answer.body


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a Int8')",
        "SELECT * FROM executable('true', 'TSV', 'a Int8')",
        "SELECT file('/etc/hostname')",
        "SELECT * FROM `/etc/hostname`",
        "SELECT * FROM default.`/etc/hostname`",
        "SELECT 1 INTO OUTFILE '{folder}/made' FORMAT CSV",
        "INSERT INTO t FROM INFILE '/etc/hostname' FORMAT LineAsString",
        "INSERT INTO t VALUES (file('/etc/hostname'))",
        "INSERT INTO FUNCTION file('{folder}/made', 'CSV', 'a Int8') VALUES (1)",
        "CREATE TABLE x (a String) ENGINE = File('LineAsString', '/etc/hostname')",
        "CREATE DATABASE x ENGINE = Filesystem('/etc')",
        "CREATE DICTIONARY x (a UInt64) PRIMARY KEY a SOURCE(EXECUTABLE(COMMAND 'touch {folder}/made' FORMAT 'TSV')) "
        "LAYOUT(FLAT()) LIFETIME(0)",
        "BACKUP TABLE t TO File('{folder}/made')",
        "CREATE TABLE x (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '{folder}/made/')",
        "GRANT ALL ON *.* TO default",
        "SYSTEM SHUTDOWN",
    ],
)
def test_files_and_programs_of_the_machine_are_out_of_reach(
    client: Client, raw: Raw, tmp_path, sql: str
) -> None:
    client.command("CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a")
    answer = raw.request("POST", {"database": client.database}, body=sql.format(folder=tmp_path).encode())
    assert answer.status in (400, 403, 404, 500), answer.body
    assert list(tmp_path.iterdir()) == []
    assert client.command("SELECT count() FROM t") == 0
