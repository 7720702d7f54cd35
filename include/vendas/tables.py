"""The mirror of the sales system: which tables, from where, to where."""

from __future__ import annotations

from include.mirror.declaration import Mirror, Table

# Sales are selected by updated_at, which the source's default and triggers set (include/sql/source/create_schema.sql),
# whether an index is there or not: without one a run warns.
CHANGED = "updated_at"

VENDAS = Mirror(
    name="vendas",
    source="postgres_vendas",
    warehouse="clickhouse_dw",
    storage="vendas_raw",
    views="vendas_dw",
    tables=[
        Table("pais", change_column=CHANGED),
        Table("cidade", change_column=CHANGED, columns={"cidade_uf": "LowCardinality(Nullable(String))"}),
        Table("cliente", change_column=CHANGED),
        Table("produto", change_column=CHANGED),
        Table("venda", change_column=CHANGED, columns={"entregue": "LowCardinality(Nullable(String))"}),
        Table("item_venda", change_column=CHANGED),
    ],
)
