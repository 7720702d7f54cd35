"""Guarantees 6 and 7: every type's extreme values arrive exactly or raise; a changed schema raises before that."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from include.mirror.declaration import Mirror, Table
from include.mirror.errors import RefusedError
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
    "updated_at NULL": (
        "ALTER TABLE venda DISABLE TRIGGER set_updated_at; UPDATE venda SET updated_at = NULL WHERE venda_id IN (7, 8)",
        "2 rows of public.venda have updated_at NULL or outside the years 1900 to 2299, "
        "so no window would ever read them: venda_id 7; 8.",
    ),
    "updated_at before Christ": (
        "ALTER TABLE venda DISABLE TRIGGER set_updated_at;"
        " UPDATE venda SET updated_at = '0044-03-15 BC' WHERE venda_id = 7",
        "1 rows of public.venda have updated_at NULL or outside the years 1900 to 2299",
    ),
    "NaN in the last table": (
        "INSERT INTO item_venda (valor_total) VALUES ('NaN')",
        "item_venda.valor_total is NaN where item_id = 1",
    ),
    "updated_at infinite": (
        "ALTER TABLE venda DISABLE TRIGGER set_updated_at; UPDATE venda SET updated_at = 'infinity' WHERE venda_id = 7",
        "1 rows of public.venda have updated_at NULL or outside the years 1900 to 2299",
    ),
}


@pytest.mark.parametrize("what", NOT_HELD)
def test_what_a_type_can_not_hold_sets_its_table_aside_and_no_other(lab: Lab, what: str) -> None:
    statement, message = NOT_HELD[what]
    lab.execute("INSERT INTO venda (valor_total) SELECT n FROM generate_series(1, 20) AS n")
    lab.execute(statement)
    end = lab.now()
    with pytest.raises(RefusedError) as raised:
        lab.run(end - timedelta(seconds=1), end)
    assert str(raised.value).startswith("1 of the tables were set aside, all others were moved. ")
    assert message in str(raised.value)
    wrong = "item_venda" if "item_venda." in message else "venda"
    # If planning refuses the table, nothing is created for it.
    if lab.query(f"EXISTS TABLE vendas_raw.{wrong}") == [(1,)]:
        assert lab.query(f"SELECT count() FROM vendas_raw.{wrong}") == [(0,)]
    lab.declaration = without(lab.declaration, wrong)
    lab.assert_equal()


def without(declaration: Mirror, table: str) -> Mirror:
    return replace(declaration, tables=[one for one in declaration.declared if one.name != table])


CHANGED_SOURCE = {
    "renamed": (
        "ALTER TABLE venda RENAME COLUMN entregue TO foi_entregue",
        "public.venda has no column 'entregue', which columns names",
    ),
    "renamed without a declared type": (
        "ALTER TABLE venda RENAME COLUMN valor_total TO total",
        "source column public.venda.valor_total is called total now; rename it back",
    ),
    "dropped": (
        "ALTER TABLE cliente DROP COLUMN cpf",
        "source column public.cliente.cpf is gone; bring it back",
    ),
    "retyped": (
        "ALTER TABLE venda ALTER COLUMN valor_total TYPE numeric(12,3)",
        "source column public.venda.valor_total is numeric(12,3), expected numeric(10,2)",
    ),
    "widened": (
        "ALTER TABLE venda ALTER COLUMN venda_id TYPE bigint",
        "source column public.venda.venda_id is bigint",
    ),
    "gone": ("DROP TABLE item_venda", "source table public.item_venda does not exist"),
}


@pytest.mark.parametrize("what", CHANGED_SOURCE)
def test_a_changed_table_of_the_source_is_set_aside_and_no_other(lab: Lab, what: str) -> None:
    statement, message = CHANGED_SOURCE[what]
    lab.run()
    lab.execute(statement)
    wrong = re.findall(r"public\.(\w+)", message)[0]
    with lab.connect() as connection:
        connection.execute("INSERT INTO pais (pais) VALUES ('Chile')")
    before = lab.query(f"SELECT count() FROM vendas_dw.cargas WHERE tabela = '{wrong}' AND kind != 'refused'")
    with pytest.raises(RefusedError) as raised:
        lab.run()
    assert message in str(raised.value)
    assert (
        lab.query(f"SELECT count() FROM vendas_dw.cargas WHERE tabela = '{wrong}' AND kind != 'refused'")
        == before
    )
    lab.declaration = without(lab.declaration, wrong)
    lab.assert_equal()


MENDED = {
    "two swapped": "ALTER TABLE cliente RENAME data_nasc TO x; ALTER TABLE cliente RENAME data_cad TO data_nasc;"
    " ALTER TABLE cliente RENAME x TO data_cad",
    "dropped and added": "ALTER TABLE cliente DROP COLUMN cpf; ALTER TABLE cliente ADD COLUMN cpf varchar(15) DEFAULT '0'",
    "widened text": "ALTER TABLE cliente ALTER COLUMN nome TYPE text USING upper(nome)",
    "with a zone": "ALTER TABLE cliente ALTER COLUMN updated_at TYPE timestamptz USING updated_at AT TIME ZONE 'UTC'",
    "not null": "ALTER TABLE cliente DROP CONSTRAINT cliente_cidade_id_fkey;"
    " ALTER TABLE cliente ALTER COLUMN cidade_id TYPE integer USING coalesce(cidade_id, 0) % 3;"
    " ALTER TABLE cliente ADD COLUMN nivel int NOT NULL DEFAULT 7",
    "of another table": "CREATE TABLE novo (LIKE cliente INCLUDING ALL); INSERT INTO novo SELECT * FROM cliente"
    " WHERE cliente_id = 1; DROP TABLE cliente CASCADE; ALTER TABLE novo RENAME TO cliente",
    "truncated and with another key": "ALTER TABLE cliente DROP COLUMN cliente_id;"
    " ALTER TABLE cliente ADD COLUMN cliente_id int GENERATED ALWAYS AS IDENTITY (START 50) PRIMARY KEY",
}


@pytest.mark.parametrize("what", MENDED)
def test_a_change_that_is_noticed_is_mended_by_reading_again(lab: Lab, what: str) -> None:
    lab.execute("ALTER TABLE venda DROP CONSTRAINT venda_cliente_id_fkey")
    lab.run()
    for statement in MENDED[what].split(";"):
        lab.execute(statement)
    lab.run()
    lab.assert_equal()
    assert lab.run()["cliente"] == 0


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
        "has columns that public.venda does not: extra",
    ),
}


@pytest.mark.parametrize("what", CHANGED_WAREHOUSE)
def test_a_changed_warehouse_raises_before_anything_is_loaded(lab: Lab, what: str) -> None:
    statement, message = CHANGED_WAREHOUSE[what]
    lab.run()
    client = lab.clickhouse.client()
    client.command(statement, settings={"mutations_sync": 2})
    client.close()
    with pytest.raises(RefusedError) as raised:
        lab.run()
    assert message in str(raised.value)


def test_a_column_that_the_source_gets_is_added(lab: Lab) -> None:
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    lab.execute("ALTER TABLE venda ADD COLUMN canal text")
    with lab.connect() as connection:
        lab.sell(connection)
    assert lab.run()["venda"] == 1
    lab.assert_equal()
    assert lab.query("SELECT canal FROM vendas_dw.venda") == [(None,), (None,)]


def test_a_column_that_old_rows_have_a_value_in_is_read_again(lab: Lab) -> None:
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    lab.execute("ALTER TABLE venda ADD COLUMN regiao text DEFAULT 'SUL'")
    assert lab.run()["venda"] == 1
    lab.assert_equal()
    assert lab.query("SELECT regiao FROM vendas_dw.venda") == [("SUL",)]
    assert lab.run()["venda"] == 0


def test_a_table_that_was_made_anew_in_the_source_is_read_from_the_start(lab: Lab) -> None:
    lab.execute("INSERT INTO item_venda (quantidade, updated_at) VALUES (1, '2020-01-01')")
    lab.run()
    lab.execute(
        "ALTER TABLE item_venda RENAME TO before; CREATE TABLE item_venda (LIKE before INCLUDING ALL);"
        " INSERT INTO item_venda SELECT * FROM before; UPDATE item_venda SET quantidade = 2;"
    )
    assert lab.run()["item_venda"] == 1
    lab.assert_equal()


def test_a_warehouse_table_that_was_dropped_is_read_from_the_start(lab: Lab) -> None:
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    lab.query("DROP TABLE vendas_raw.venda SYNC")
    assert lab.run()["venda"] == 1
    lab.assert_equal()


def test_negative_keys_arrive(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (venda_id, valor_total) VALUES (-1, 1), (-2147483648, 2), (0, 3)")
    lab.run()
    lab.assert_equal()


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


def test_small_decimals_arrive_exact(lab: Lab) -> None:
    """ClickHouse stores Decimals of up to nine digits in 32 bits, also negative ones."""
    lab.execute(
        "CREATE TABLE taxa (taxa_id int PRIMARY KEY, valor numeric(5,2), updated_at timestamp DEFAULT now())"
    )
    lab.execute("INSERT INTO taxa VALUES (1, -999.99), (2, 999.99), (3, -0.01), (4, NULL)")
    lab.mirror_only(Table("taxa", change_column="updated_at"))
    lab.run()
    lab.assert_equal()
