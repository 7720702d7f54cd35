"""The engine's features that the warehouse needs."""

from __future__ import annotations

import psycopg
from clickhouse_connect.driver.client import Client

from local.servers.postgres import Postgres
from tests.local.servers.clickhouse.conftest import eventually


def test_parts_merge_by_themselves(client: Client) -> None:
    client.command(
        "CREATE TABLE t (id UInt32, version UInt64) ENGINE = ReplacingMergeTree(version) ORDER BY id"
    )
    for version in range(12):
        client.insert("t", [[1, version]], column_names=["id", "version"])
    parts = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 't' AND active"
    eventually(lambda: client.command(parts) < 12, "some parts are merged")
    assert client.query("SELECT * FROM t FINAL").result_rows == [(1, 11)]


def test_a_stage_is_attached_to_a_replacing_table_behind_a_view(client: Client) -> None:
    columns = "(id UInt32, name String, version UInt64, gone UInt8)"
    client.command(
        f"CREATE TABLE target {columns} ENGINE = ReplacingMergeTree(version, gone) PARTITION BY intDiv(id, 1000) ORDER BY id"
    )
    client.command("CREATE VIEW current AS SELECT id, name FROM target FINAL")
    for version, rows in enumerate(
        [[(1, "a", 0), (1001, "b", 0)], [(1, "A", 0), (1001, "b", 1), (2, "c", 0)]]
    ):
        client.command(
            f"CREATE TABLE stage {columns} ENGINE = MergeTree PARTITION BY intDiv(id, 1000) ORDER BY id"
        )
        client.insert(
            "stage",
            [(id_, name, version, gone) for id_, name, gone in rows],
            column_names=["id", "name", "version", "gone"],
        )
        partitions = client.query(
            "SELECT DISTINCT partition_id FROM system.parts "
            "WHERE database = currentDatabase() AND table = 'stage' AND active"
        ).result_columns[0]
        for partition in partitions:
            client.command(f"ALTER TABLE target ATTACH PARTITION ID '{partition}' FROM stage")
        client.command("DROP TABLE stage SYNC")
    assert client.query("SELECT * FROM current ORDER BY id").result_rows == [(1, "A"), (2, "c")]
    assert client.command("SELECT count() FROM current") == 2


def test_pulling_from_postgresql(client: Client, postgres: Postgres) -> None:
    postgres.create_database("pulled")
    with psycopg.connect(postgres.dsn("pulled"), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS item")
        connection.execute("CREATE TABLE item (id int, price numeric(10, 2), at timestamp)")
        connection.execute(
            "INSERT INTO item SELECT n, n * 1.01, '2026-01-01'::timestamp + n * interval '1 us' "
            "FROM generate_series(1, 1000) n"
        )
    client.command(
        "CREATE TABLE item (id UInt32, price Decimal(10, 2), at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY id"
    )
    client.command(
        "INSERT INTO item SELECT id, price, at "
        "FROM postgresql({address:String}, 'pulled', 'item', 'postgres', {password:String})",
        {"address": f"127.0.0.1:{postgres.port}", "password": postgres.password},
    )
    found = client.query("SELECT count(), sum(price), toString(max(at)) FROM item").first_row
    assert (found[0], str(found[1]), found[2]) == (1000, "505505.00", "2026-01-01 00:00:00.001000")


def test_mutations_partitions_and_renames(client: Client) -> None:
    client.command("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree PARTITION BY a % 2 ORDER BY a")
    client.command("INSERT INTO t SELECT number, 'x' FROM numbers(10)")
    client.command("ALTER TABLE t ADD COLUMN c Nullable(Decimal(10, 2)) AFTER a")
    client.command("ALTER TABLE t UPDATE b = 'y' WHERE a < 3", settings={"mutations_sync": 1})
    client.command("DELETE FROM t WHERE a = 9")
    client.command("ALTER TABLE t DROP PARTITION 0")
    client.command("CREATE TABLE u AS t")
    client.command("EXCHANGE TABLES t AND u")
    client.command("OPTIMIZE TABLE u FINAL")
    assert client.query("SELECT a, b FROM u ORDER BY a").result_rows == [
        (1, "y"),
        (3, "x"),
        (5, "x"),
        (7, "x"),
    ]
    assert [row[1] for row in client.query("CHECK TABLE u").result_rows] == ["1"]
    client.command("TRUNCATE TABLE u")
    client.command("RENAME TABLE u TO v")
    assert client.query("SHOW TABLES").result_rows == [("t",), ("v",)]
