"""A warehouse of the mirror's first version is used as it is, with all its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from include.mirror import contract, migrations
from include.mirror.errors import RefusedError
from include.mirror.ledger import Ledger
from tests.lab import Lab

SCRIPT = Path(__file__).with_name("first_warehouse.sql")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def upgraded(lab: Lab) -> Lab:
    """A warehouse of the first version with the source's base data, one sale, and their ledger rows."""
    with lab.connect() as connection:
        lab.sell(connection)
    client, now = lab.clickhouse.client(), lab.now()
    for statement in re.split(r"^;$", SCRIPT.read_text(), flags=re.M):
        if statement.strip():
            client.command(statement)
    version = int((now - EPOCH) / timedelta(microseconds=1))
    for table in lab.tables:
        rows = lab.source_rows(table)
        with lab.connect() as connection:
            columns = [
                column.name for column in connection.execute(f"SELECT * FROM {table}").description or ()
            ]
        client.insert(
            table,
            [
                [
                    *(value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for value in row),
                    version,
                ]
                for row in rows
            ],
            column_names=[*columns, "version"],
            database="vendas_raw",
        )
        client.command(
            "INSERT INTO vendas_raw.cargas (id, plan, tabela, kind, inicio, fim, version, rows, money) SELECT"
            " generateUUIDv4(), generateUUIDv4(), {table:String}, 'window', toDateTime64('2020-01-01', 6, 'UTC'),"
            " {fim:DateTime64(6, 'UTC')}, {version:UInt64}, {rows:UInt64}, map('valor_total', 10.5)",
            parameters={"table": table, "fim": now, "version": version, "rows": len(rows)},
        )
    client.close()
    lab.reached = now
    lab.assert_equal()
    return lab


def test_what_is_there_is_kept_and_nothing_is_read_again(upgraded: Lab) -> None:
    lab = upgraded
    assert set(lab.run().values()) == {0}
    with lab.connect() as connection:
        lab.sell(connection)
    assert lab.run()["venda"] == 1
    lab.assert_equal()
    assert lab.query(
        "SELECT money['valor_total'], reason FROM vendas_dw.cargas WHERE tabela = 'pais' ORDER BY version LIMIT 1"
    ) == [(Decimal("10.5"), "")]
    assert lab.query("SELECT count() FROM vendas_raw.cargas WHERE kind = 'forget'") == [(0,)]


def test_the_types_stay_and_the_source_is_noted(upgraded: Lab) -> None:
    lab = upgraded
    lab.run()
    assert lab.query(
        "SELECT type, comment FROM system.columns WHERE database = 'vendas_raw' AND table = 'venda' AND position <= 2"
    ) == [("UInt32", "integer (attribute 1)"), ("Nullable(UInt32)", "integer (attribute 2)")]
    ((comment,),) = lab.query(
        "SELECT comment FROM system.tables WHERE database = 'vendas_raw' AND name = 'venda'"
    )
    assert re.fullmatch(
        r'"public"\."venda" \(oid \d+, attributes up to 7, files \d+ since \d+ by 7\)', comment
    )


def test_what_a_type_of_then_can_not_hold_is_refused(upgraded: Lab) -> None:
    upgraded.execute("INSERT INTO venda (venda_id) VALUES (-1)")
    with pytest.raises(
        RefusedError, match=r"venda\.venda_id is -1 where venda_id = -1: UInt32 can't hold that"
    ):
        upgraded.run()


def test_a_column_that_was_not_mirrored_is_read_for_all_rows(upgraded: Lab) -> None:
    lab = upgraded
    lab.execute("ALTER TABLE venda ADD COLUMN canal text DEFAULT 'loja'")
    assert lab.run()["venda"] == 1
    lab.assert_equal()
    assert lab.query("SELECT canal FROM vendas_dw.venda") == [("loja",)]


def test_migrations_are_applied_once_in_order_and_noted(
    upgraded: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab = upgraded
    with caplog.at_level("INFO", logger="include.mirror.migrations"):
        lab.run()
        first = [record.getMessage() for record in caplog.records if "migration" in record.name]
        lab.run()
    numbers = [migration.number for migration in migrations.known()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert first == [f"vendas_raw: migration {number:04}, {name}" for number, name in migrations.known()]
    assert len([record for record in caplog.records if "migration" in record.name]) == len(first)
    assert lab.query("SELECT number, name FROM vendas_raw.migracoes ORDER BY number") == [
        tuple(migration) for migration in migrations.known()
    ]


def test_a_migration_that_was_broken_off_is_applied_by_the_next_run(upgraded: Lab) -> None:
    lab = upgraded
    lab.run()
    before = lab.query("SELECT name, type, comment FROM system.columns WHERE table = 'cargas' ORDER BY name")
    # As after a crash between two migrations: only the last one is not noted.
    last = migrations.known()[-1].number
    with lab.engine().warehouse.client() as client:
        client.command("TRUNCATE TABLE vendas_raw.migracoes")
        client.insert("vendas_raw.migracoes", migrations.known()[:-1], column_names=["number", "name"])
    assert set(lab.run().values()) == {0}
    assert lab.query("SELECT max(number) FROM vendas_raw.migracoes") == [(last,)]
    assert (
        lab.query("SELECT name, type, comment FROM system.columns WHERE table = 'cargas' ORDER BY name")
        == before
    )


def test_two_runs_that_upgrade_together_lose_nothing(upgraded: Lab) -> None:
    lab = upgraded
    with ThreadPoolExecutor(4) as pool:
        with lab.engine().warehouse.client() as client:
            storage = contract.read(lab.engine().warehouse, client).storage
        for result in [pool.submit(_migrate, lab, storage) for _ in range(4)]:
            result.result()
    assert set(lab.run().values()) == {0}
    lab.assert_equal()
    assert lab.query("SELECT DISTINCT number FROM vendas_raw.migracoes ORDER BY number") == [
        (migration.number,) for migration in migrations.known()
    ]


def _migrate(lab: Lab, storage: Mapping[str, contract.Stored]) -> None:
    with lab.engine().warehouse.client() as client:
        Ledger(lab.engine().warehouse, client).prepare(storage)
