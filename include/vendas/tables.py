"""The six mirrored tables of the sales system. A new table is one entry here and its SQL files."""

from __future__ import annotations

from pathlib import Path

from include.mirror.table import Column, TableSpec

SQL = Path(__file__).resolve().parent.parent / "sql" / "etl_vendas"

_STAMPS = (
    Column("created_at", "timestamp without time zone", "Nullable(DateTime64(6, 'UTC'))"),
    Column("updated_at", "timestamp without time zone", "DateTime64(6, 'UTC')"),
)


def _table(name: str, key: str, *columns: Column) -> TableSpec:
    return TableSpec(
        name=name,
        key=key,
        columns=(Column(key, "integer", "UInt32"), *columns, *_STAMPS),
        extract=SQL / f"extract_{name}.sql",
        create_table=SQL / f"create_raw_{name}.sql",
        create_view=SQL / f"create_view_{name}.sql",
    )


TABLES = {
    spec.name: spec
    for spec in (
        _table(
            "pais",
            "pais_id",
            Column("pais", "character varying(60)", "String"),
        ),
        _table(
            "cidade",
            "cidade_id",
            Column("cidade_desc", "character varying(60)", "String"),
            Column("cidade_uf", "character varying(2)", "LowCardinality(Nullable(String))"),
            Column("pais_id", "integer", "Nullable(UInt32)"),
        ),
        _table(
            "cliente",
            "cliente_id",
            Column("nome", "character varying(60)", "String"),
            Column("data_nasc", "date", "Nullable(Date32)"),
            Column("data_cad", "date", "Nullable(Date32)"),
            Column("cpf", "character varying(15)", "Nullable(String)"),
            Column("cidade_id", "integer", "Nullable(UInt32)"),
        ),
        _table(
            "produto",
            "produto_id",
            Column("nome", "character varying(100)", "String"),
            Column("descricao", "text", "Nullable(String)"),
            Column("preco_base", "numeric(10,2)", "Nullable(Decimal(10, 2))"),
            Column("ativo", "boolean", "Nullable(Bool)"),
        ),
        _table(
            "venda",
            "venda_id",
            Column("cliente_id", "integer", "Nullable(UInt32)"),
            Column("data", "date", "Nullable(Date32)"),
            Column("entregue", "character(1)", "LowCardinality(Nullable(String))"),
            Column("valor_total", "numeric(10,2)", "Nullable(Decimal(10, 2))"),
        ),
        _table(
            "item_venda",
            "item_id",
            Column("venda_id", "integer", "Nullable(UInt32)"),
            Column("produto_id", "integer", "Nullable(UInt32)"),
            Column("valor_unitario", "numeric(10,2)", "Nullable(Decimal(10, 2))"),
            Column("quantidade", "integer", "Nullable(Int32)"),
            Column("valor_total", "numeric(10,2)", "Nullable(Decimal(10, 2))"),
        ),
    )
}

CREATE_FIRST = (
    SQL / "create_database_raw.sql",
    SQL / "create_database_dw.sql",
    SQL / "create_raw_cargas.sql",
    SQL / "create_view_cargas.sql",
)
"""What the warehouse needs before any table: the databases and the ledger."""
