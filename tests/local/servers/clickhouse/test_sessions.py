"""Sessions, settings and databases: which of them last, and which end with the request."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from local.servers.clickhouse import ClickHouse
from tests.local.servers.clickhouse.conftest import Raw, eventually


def test_a_session_keeps_temporary_tables_settings_and_database(
    clickhouse: ClickHouse, database: str
) -> None:
    client = clickhouse.client(session_id="keeps")
    client.command("CREATE TEMPORARY TABLE tmp (a UInt8)")
    client.insert("tmp", [[7]], column_names=["a"])
    client.command("SET max_threads = 3")
    client.command(f"USE {database}")
    assert client.query("SELECT a FROM tmp").first_row == (7,)
    assert client.command("SELECT getSetting('max_threads')") == 3
    assert client.command("SELECT currentDatabase()", use_database=False) == database
    other = clickhouse.client(session_id="another")
    with pytest.raises(DatabaseError, match="tmp"):
        other.query("SELECT a FROM tmp")
    assert other.command("SELECT currentDatabase()") == "default"
    assert other.command("SELECT getSetting('max_threads')") != 3
    for one in (client, other):
        one.close()


def test_no_session_keeps_nothing(clickhouse: ClickHouse) -> None:
    client = clickhouse.client(autogenerate_session_id=False)
    client.command("CREATE TEMPORARY TABLE tmp (a UInt8)")
    with pytest.raises(DatabaseError, match="tmp") as raised:
        client.query("SELECT a FROM tmp")
    assert raised.value.code == 60
    client.close()


def test_a_request_s_settings_go_with_it(client: Client) -> None:
    before = client.command("SELECT getSetting('max_threads')")
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 5}) == 5
    assert client.command("SELECT getSetting('max_threads')") == before
    client.command("SET max_threads = 4")
    assert client.command("SELECT getSetting('max_threads')", settings={"max_threads": 5}) == 5
    assert client.command("SELECT getSetting('max_threads')") == 4
    assert client.query("SELECT number FROM numbers(10)", settings={"limit": 2}).result_rows == [(0,), (1,)]
    assert len(client.query("SELECT number FROM numbers(10)").result_rows) == 10


def test_a_set_in_a_session_outlives_what_a_request_lays_over_it(client: Client) -> None:
    client.command("SET max_threads = 6", settings={"max_threads": 5})
    assert client.command("SELECT getSetting('max_threads')") == 6


def test_a_request_s_database_goes_with_it(clickhouse: ClickHouse, client: Client, database: str) -> None:
    client.command("CREATE TABLE here (a UInt8) ENGINE = Memory")
    assert client.query("SELECT count() FROM here").first_row == (0,)
    assert client.command("SELECT currentDatabase()", use_database=False) == "default"


def test_an_unknown_database_or_setting(clickhouse: ClickHouse, client: Client, raw: Raw) -> None:
    with pytest.raises(DatabaseError, match="nowhere") as raised:
        clickhouse.client(database="nowhere")
    assert raised.value.code == 81
    answer = raw.request("POST", {"query": "SELECT 1", "no_such_setting": "1"})
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (404, "115")
    assert b"no_such_setting" in answer.body
    with pytest.raises(DatabaseError, match="many") as raised:
        client.command("SELECT 1", settings={"max_threads": "many"})
    assert raised.value.code == 27
    # A request that is refused for one of its settings leaves no other setting behind.
    with pytest.raises(DatabaseError):
        client.command("SELECT 1", settings={"max_block_size": 7, "max_threads": "many"})
    assert client.command("SELECT getSetting('max_block_size')") != 7


def test_a_locked_session(clickhouse: ClickHouse, raw: Raw, client: Client) -> None:
    with raw.connect() as first:
        query = {"query": "SELECT 'holds', count() FROM system.numbers", "session_id": "locked"}
        first.sendall(raw.head("GET", query, {}))
        mark = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT \\'holds%'"
        eventually(lambda: client.command(mark) == 1, "the first query runs")
        answer = raw.request("GET", {"query": "SELECT 1", "session_id": "locked"})
        assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "373")
        assert b"SESSION_IS_LOCKED" in answer.body
    eventually(
        lambda: raw.request("GET", {"query": "SELECT 1", "session_id": "locked"}).status == 200,
        "the session is free",
    )


def test_a_session_that_must_exist(raw: Raw) -> None:
    parameters = {"query": "SELECT 1", "session_id": "unheard of", "session_check": "1"}
    answer = raw.request("GET", parameters)
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, "372")
    raw.request("GET", {**parameters, "session_check": "0"})
    assert raw.request("GET", parameters).body == b"1\n"


def test_a_session_ends_after_its_timeout(raw: Raw) -> None:
    parameters = {"query": "SELECT 1", "session_id": "short", "session_timeout": "1"}
    assert raw.request("GET", parameters).status == 200
    eventually(
        lambda: (
            raw.request("GET", {**parameters, "session_check": "1", "session_timeout": "0"}).status == 500
        ),
        "the session is gone",
    )


@pytest.mark.parametrize("timeout", ["-1", "soon", "100000"])
def test_a_timeout_that_is_none(raw: Raw, timeout: str) -> None:
    answer = raw.request("GET", {"query": "SELECT 1", "session_id": "s", "session_timeout": timeout})
    assert answer.headers["x-clickhouse-exception-code"] == "374"
    assert timeout.encode() in answer.body
