"""The declaration of the sales mirror: its source, its warehouse and its tables."""

from __future__ import annotations

from include.mirror.declaration import Mirror, Table

# Windows select by updated_at, which the source's defaults and triggers set (include/sql/source/create_schema.sql). It is
# declared here, so windows are used even if an index is missing; then a run logs a warning.
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
