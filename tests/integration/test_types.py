"""Guarantees 6 and 7: every type at its extremes arrives exact or raises; a changed schema raises first."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from include.mirror.errors import SchemaError, ValueNotHeldError
from include.mirror.table import Column, TableSpec
from tests.lab import Lab


def test_every_type_arrives_exact_at_its_extremes(lab: Lab) -> None:
    lab.execute(
        "INSERT INTO venda (venda_id, cliente_id, data, entregue, valor_total, created_at) VALUES"
        " (2147483647, NULL, '1900-01-01', NULL, 99999999.99, '1900-01-01 00:00:00'),"
        " (1, 1, '2299-12-31', ' ', -99999999.99, '2299-12-31 23:59:59.999999'),"
        " (2, 2, '1970-01-01', 'S', 0.01, '1969-12-31 23:59:59.999999'),"
        " (3, NULL, NULL, 'ç', NULL, NULL),"
        " (4, NULL, '1969-12-31', '\\', -0.01, '2026-01-01 12:34:56.000001')"
    )
    lab.execute(
        "INSERT INTO item_venda (venda_id, quantidade, valor_unitario) VALUES (1, 2147483647, 0), (NULL, -2147483648, NULL)"
    )
    lab.execute(
        "INSERT INTO produto (nome, descricao, ativo) VALUES ('', '', NULL), (%s, %s, false)",
        ("é" * 100, TEXT),
    )
    lab.execute("INSERT INTO produto (nome, descricao) VALUES ('long', repeat('ação ', 400000))")
    lab.run()
    lab.assert_equal()
    assert lab.query("SELECT min(valor_total), max(valor_total) FROM vendas_dw.venda") == [
        (Decimal("-99999999.99"), Decimal("99999999.99"))
    ]
    assert lab.query("SELECT min(data), max(data) FROM vendas_dw.venda") == [
        (date(1900, 1, 1), date(2299, 12, 31))
    ]


TEXT = "tab\tline\nreturn\r\\N \\\\ 'quote' \"double\" \x01\x7f emoji \U0001f9fe zero\u200bwidth NULL"


def test_money_is_exact_over_many_rows(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total) SELECT 0.01 + n * 12.07 FROM generate_series(1, 20000) AS n")
    lab.run()
    with lab.connect() as connection:
        expected = connection.execute("SELECT sum(valor_total) FROM venda").fetchone()
    assert lab.query("SELECT sum(valor_total) FROM vendas_dw.venda") == [expected]
    assert lab.query("SELECT money['valor_total'] FROM vendas_dw.cargas WHERE tabela = 'venda'") == [expected]


NOT_HELD = {
    "numeric NaN": (
        "UPDATE venda SET valor_total = 'NaN' WHERE venda_id = 7",
        "venda.valor_total is NaN where venda_id = 7",
    ),
    "timestamp infinity": (
        "UPDATE venda SET created_at = 'infinity' WHERE venda_id = 7",
        "venda.created_at is infinity where venda_id = 7",
    ),
    "timestamp before 1900": (
        "UPDATE venda SET created_at = '1899-12-31 23:59:59.999999' WHERE venda_id = 7",
        "venda.created_at is 1899-12-31 23:59:59.999999 where venda_id = 7",
    ),
    "date infinity": (
        "UPDATE venda SET data = '-infinity' WHERE venda_id = 7",
        "venda.data is -infinity where venda_id = 7",
    ),
    "date beyond 2299": (
        "UPDATE venda SET data = '2300-01-01' WHERE venda_id = 7",
        "venda.data is 2300-01-01 where venda_id = 7",
    ),
    "year before Christ": (
        "UPDATE venda SET data = '0044-03-15 BC' WHERE venda_id = 7",
        "venda.data is 0044-03-15 BC where",
    ),
    "negative key": (
        "UPDATE venda SET venda_id = -1 WHERE venda_id = 7",
        "venda.venda_id is -1 where venda_id = -1",
    ),
    "updated_at NULL": (
        "ALTER TABLE venda DISABLE TRIGGER set_updated_at; UPDATE venda SET updated_at = NULL WHERE venda_id IN (7, 8)",
        "2 rows of public.venda have an updated_at that is NULL or outside the years 1900 to 2299, "
        "so no window would ever read them: venda_id 7, 8.",
    ),
    "updated_at before Christ": (
        "ALTER TABLE venda DISABLE TRIGGER set_updated_at;"
        " UPDATE venda SET updated_at = '0044-03-15 BC' WHERE venda_id = 7",
        "1 rows of public.venda have an updated_at that is NULL or outside the years 1900 to 2299",
    ),
    "NaN in the last table": (
        "INSERT INTO item_venda (valor_total) VALUES ('NaN')",
        "item_venda.valor_total is NaN where item_id = 1",
    ),
    "updated_at infinite": (
        "ALTER TABLE venda DISABLE TRIGGER set_updated_at; UPDATE venda SET updated_at = 'infinity' WHERE venda_id = 7",
        "1 rows of public.venda have an updated_at that is NULL or outside the years 1900 to 2299",
    ),
}


@pytest.mark.parametrize("what", NOT_HELD)
def test_what_a_type_can_not_hold_raises_and_publishes_nothing(lab: Lab, what: str) -> None:
    statement, message = NOT_HELD[what]
    lab.execute("INSERT INTO venda (valor_total) SELECT n FROM generate_series(1, 20) AS n")
    lab.execute(statement)
    end = lab.now()
    with pytest.raises(ValueNotHeldError) as raised:
        lab.run(end - timedelta(seconds=1), end)
    assert message in str(raised.value)
    if lab.query("SELECT count() FROM system.databases WHERE name = 'vendas_dw'") == [(1,)]:
        counts = {name: lab.query(f"SELECT count() FROM vendas_dw.{name}")[0][0] for name in lab.tables}
        assert counts == dict.fromkeys(lab.tables, 0)


CHANGED_SOURCE = {
    "renamed": (
        "ALTER TABLE venda RENAME COLUMN entregue TO foi_entregue",
        "source column public.venda.entregue is missing; new there: foi_entregue (renamed?)",
    ),
    "dropped": ("ALTER TABLE cliente DROP COLUMN cpf", "source column public.cliente.cpf is missing"),
    "retyped": (
        "ALTER TABLE venda ALTER COLUMN valor_total TYPE numeric(12,3)",
        "source column public.venda.valor_total is numeric(12,3), expected numeric(10,2)",
    ),
    "widened": (
        "ALTER TABLE venda ALTER COLUMN venda_id TYPE bigint",
        "source column public.venda.venda_id is bigint",
    ),
    "with a zone": (
        "ALTER TABLE produto ALTER COLUMN updated_at TYPE timestamptz",
        "source column public.produto.updated_at is timestamp with time zone",
    ),
    "gone": ("DROP TABLE item_venda", "source table public.item_venda does not exist"),
}


@pytest.mark.parametrize("what", CHANGED_SOURCE)
def test_a_changed_source_raises_before_anything_is_loaded(lab: Lab, what: str) -> None:
    statement, message = CHANGED_SOURCE[what]
    lab.run()
    before = lab.query("SELECT count() FROM vendas_dw.cargas")
    lab.execute(statement)
    with pytest.raises(SchemaError) as raised:
        lab.run()
    assert message in str(raised.value)
    assert lab.query("SELECT count() FROM vendas_dw.cargas") == before


CHANGED_WAREHOUSE = {
    "narrower": (
        "ALTER TABLE vendas_raw.venda MODIFY COLUMN valor_total Nullable(Decimal(9, 1))",
        "warehouse column vendas_raw.venda.valor_total is Nullable(Decimal(9, 1)), expected Nullable(Decimal(10, 2))",
    ),
    "dropped": (
        "ALTER TABLE vendas_raw.venda DROP COLUMN entregue",
        "warehouse column vendas_raw.venda.entregue is missing",
    ),
    "of another engine": (
        "CREATE OR REPLACE TABLE vendas_raw.venda AS vendas_raw.venda ENGINE = ReplacingMergeTree(updated_at)"
        " PARTITION BY intDiv(venda_id, 10000000) ORDER BY venda_id",
        "warehouse table vendas_raw.venda has engine ReplacingMergeTree(updated_at), expected ReplacingMergeTree(version,",
    ),
    "partitioned by time": (
        "CREATE OR REPLACE TABLE vendas_raw.venda AS vendas_raw.venda ENGINE = ReplacingMergeTree(version, is_deleted)"
        " PARTITION BY toYYYYMM(updated_at) ORDER BY venda_id",
        "warehouse table vendas_raw.venda is partitioned by toYYYYMM(updated_at), which changes with updated_at",
    ),
    "ordered otherwise": (
        "CREATE OR REPLACE TABLE vendas_raw.venda AS vendas_raw.venda ENGINE = ReplacingMergeTree(version, is_deleted)"
        " PARTITION BY intDiv(venda_id, 10000000) ORDER BY (venda_id, updated_at)",
        "warehouse table vendas_raw.venda is ordered by venda_id, updated_at, expected venda_id",
    ),
    "hidden by an old table": (
        "CREATE OR REPLACE TABLE vendas_dw.venda (venda_id UInt32) ENGINE = MergeTree ORDER BY venda_id",
        "vendas_dw.venda is already there and is not the mirror's view (engine MergeTree)",
    ),
    "hidden by another view": (
        "CREATE OR REPLACE VIEW vendas_dw.venda AS SELECT 1 AS venda_id",
        "vendas_dw.venda is already there and is not the mirror's view (engine View)",
    ),
    "added": (
        "ALTER TABLE vendas_raw.venda ADD COLUMN extra String",
        "columns that its TableSpec does not: extra",
    ),
}


@pytest.mark.parametrize("what", CHANGED_WAREHOUSE)
def test_a_changed_warehouse_raises_before_anything_is_loaded(lab: Lab, what: str) -> None:
    statement, message = CHANGED_WAREHOUSE[what]
    lab.run()
    client = lab.clickhouse.client()
    client.command(statement, settings={"mutations_sync": 2})
    client.close()
    with pytest.raises(SchemaError) as raised:
        lab.run()
    assert message in str(raised.value)


def test_a_new_column_in_the_source_is_warned_about(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.execute("ALTER TABLE venda ADD COLUMN canal text")
    lab.run()
    assert "public.venda has columns that are not mirrored: canal" in caplog.text


def test_timestamps_keep_their_wall_clock_whatever_the_zone(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (created_at, updated_at) VALUES ('2026-03-08 02:30', '2026-03-08 02:30')")
    lab.run()
    assert lab.query("SELECT created_at FROM vendas_dw.venda") == [(datetime(2026, 3, 8, 2, 30),)]


def test_a_view_that_lags_behind_its_spec_is_replaced(lab: Lab) -> None:
    lab.run()
    client = lab.clickhouse.client()
    client.command("CREATE OR REPLACE VIEW vendas_dw.venda AS SELECT venda_id FROM vendas_raw.venda FINAL")
    client.close()
    lab.run()
    lab.assert_equal()


def test_small_decimals_arrive_exact(lab: Lab, tmp_path: Path) -> None:
    """Up to nine digits ClickHouse keeps them in 32 bits, negative ones too."""
    lab.execute(
        "CREATE TABLE taxa (taxa_id int PRIMARY KEY, valor numeric(5,2), updated_at timestamp DEFAULT now())"
    )
    lab.execute("INSERT INTO taxa VALUES (1, -999.99), (2, 999.99), (3, -0.01), (4, NULL)")
    extract, create, view = (tmp_path / name for name in ("extract.sql", "create.sql", "view.sql"))
    extract.write_text(
        "SELECT taxa_id, (valor * 100)::bigint AS valor, updated_at FROM public.taxa WHERE {{ changed }}"
    )
    create.write_text(
        "CREATE TABLE IF NOT EXISTS vendas_raw.taxa (taxa_id UInt32, valor Nullable(Decimal(5, 2)),"
        " updated_at DateTime64(6, 'UTC'), version UInt64, is_deleted UInt8 DEFAULT 0)"
        " ENGINE = ReplacingMergeTree(version, is_deleted) PARTITION BY intDiv(taxa_id, 10) ORDER BY taxa_id"
    )
    view.write_text(
        "CREATE VIEW vendas_dw.taxa AS SELECT taxa_id, valor, updated_at FROM vendas_raw.taxa FINAL"
    )
    columns = (
        Column("taxa_id", "integer", "UInt32"),
        Column("valor", "numeric(5,2)", "Nullable(Decimal(5, 2))"),
        Column("updated_at", "timestamp without time zone", "DateTime64(6, 'UTC')"),
    )
    lab.tables = {"taxa": TableSpec("taxa", "taxa_id", columns, extract, create, view)}
    lab.run()
    lab.assert_equal()
