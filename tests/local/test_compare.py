"""The comparison of both servers finds what differs, down to one character of one row."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest

from include.vendas.tables import TABLES
from local.compare import compare
from local.demo_view import money_difference, rows_difference
from tests.conftest import new_source

ROWS = """
INSERT INTO pais (pais) VALUES ('Brasil'), ('Côte d''Ivoire');
INSERT INTO cidade (cidade_desc, cidade_uf, pais_id) VALUES ('São Paulo', 'SP', 1), ('Yamoussoukro', NULL, 2);
INSERT INTO cliente (nome, data_nasc, cpf) VALUES ('Ana', '1929-12-31', NULL), (E'Zoë\\t"\\\\', NULL, ''), ('-', NULL, '-');
INSERT INTO produto (nome, descricao, preco_base, ativo) VALUES ('Café', E'a\\nb', 0.01, true), ('Chá', '', NULL, NULL);
INSERT INTO venda (cliente_id, "data", entregue, valor_total) VALUES (1, '2026-02-28', 'N', 99999999.99);
INSERT INTO venda (cliente_id) VALUES (2);
INSERT INTO item_venda (venda_id, produto_id, valor_unitario, quantidade, valor_total) VALUES (1, 1, -5.00, 3, -15.00);
"""


@pytest.fixture
def servers(postgres, clickhouse):
    """A source with some awkward rows, and views of the same rows, copied as text by way of this process."""
    source_dsn = new_source(postgres)
    client = clickhouse.client()
    client.command("DROP DATABASE IF EXISTS vendas_dw SYNC")
    client.command("CREATE DATABASE vendas_dw")
    with psycopg.connect(source_dsn) as source:
        source.execute(ROWS)
        for spec in TABLES.values():
            columns = ", ".join(f"`{column.name}` {column.warehouse_type}" for column in spec.columns)
            client.command(
                f"CREATE TABLE vendas_dw.{spec.name} ({columns}) ENGINE = MergeTree ORDER BY {spec.key}"
            )
            names = ", ".join(column.name for column in spec.columns)
            with source.cursor().copy(f"COPY (SELECT {names} FROM {spec.source_name}) TO STDOUT") as rows:
                client.raw_insert(f"vendas_dw.{spec.name}", insert_block=b"".join(rows), fmt="TSV")
    yield source_dsn, client
    client.command("DROP DATABASE vendas_dw SYNC")
    client.close()


def test_equal_rows_compare_equal(servers):
    differences = {one.table: one for one in compare(*servers)}
    assert list(differences) == list(TABLES)
    assert all(one.same for one in differences.values()), differences
    assert differences["venda"].source.money == Decimal("99999999.99")
    assert differences["cliente"].source.money is None
    assert [rows_difference(one) for one in differences.values()] == ["0"] * 6
    assert [money_difference(one) for one in differences.values()] == ["0"] * 6


@pytest.mark.parametrize(
    ("table", "change", "rows", "money"),
    [
        ("venda", "UPDATE venda SET valor_total = valor_total - 0.01 WHERE venda_id = 1", "values", "+0.01"),
        ("venda", "UPDATE venda SET valor_total = 0 WHERE venda_id = 2", "values", "0"),
        ("item_venda", "UPDATE item_venda SET valor_unitario = 5", "values", "0"),
        ("item_venda", "DELETE FROM item_venda", "+1", "-15.00"),
        ("cidade", "INSERT INTO cidade (cidade_desc) VALUES ('Lisboa')", "-1", "0"),
        ("cliente", "UPDATE cliente SET nome = 'Anä' WHERE cliente_id = 1", "values", "0"),
        ("cliente", "UPDATE cliente SET cpf = '' WHERE cliente_id = 1", "values", "0"),
        ("cliente", "UPDATE cliente SET cpf = NULL WHERE cliente_id = 2", "values", "0"),
        ("cliente", "UPDATE cliente SET data_nasc = '1930-01-01' WHERE cliente_id = 1", "values", "0"),
        ("produto", "UPDATE produto SET ativo = false WHERE produto_id = 1", "values", "0"),
        (
            "pais",
            "UPDATE pais SET created_at = created_at + interval '1 microsecond' WHERE pais_id = 2",
            "values",
            "0",
        ),
    ],
)
def test_difference_is_found(servers, table, change, rows, money):
    source_dsn, _ = servers
    with psycopg.connect(source_dsn) as source:
        # The trigger's updated_at would differ, whatever the change.
        source.execute("SET session_replication_role = replica")
        source.execute(change)
    found = [one for one in compare(*servers) if not one.same]
    shown = [(one.table, rows_difference(one), money_difference(one)) for one in found]
    assert shown == [(table, rows, money)]
