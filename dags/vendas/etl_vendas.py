"""
# etl_vendas

Mirrors the sales system (PostgreSQL, connection `postgres_vendas`) into the warehouse (ClickHouse, connection
`clickhouse_dw`), by data interval. People query `vendas_dw.venda`, `item_venda`, `cliente`, `produto`, `cidade`
and `pais`: views of the current rows, exact without `FINAL`.

A scheduled run moves everything before its interval's end that is not in the warehouse yet. Usually that is its own
interval. On the very first run, and after an outage or a failed run, it is also everything that is missing. Rows of a
transaction that commits late are read once the transaction has ended.

To move a range again, at any time and as often as you like, trigger a run with

```json
{"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z", "tabelas": ["venda", "item_venda"], "queue": "low"}
```

The schedule goes on meanwhile. Clearing a whole run moves its interval again. Clearing only `mirror` moves the reads of the
run's plan that are not done yet.

If a table no longer fits its source, rebuild it with

```json
{"reconstruir": ["venda"]}
```

The new table is built beside the old one, and readers see no gap.

`vendas_dw.cargas` shows what each window moved. `vendas_dw.estado` shows the state of each table: equal, follows, differs or
never compared. `reconciliar_vendas` compares both sides every night, and whenever it is triggered.
"""

from __future__ import annotations

from include.airflow_mirror import load, mirror_dags
from include.conventions.pools import FONTE_VENDAS, FONTE_VENDAS_BACKGROUND
from include.conventions.tags import Tag
from include.vendas.tables import VENDAS

etl_vendas, reconciliar_vendas = mirror_dags(
    VENDAS,
    load(VENDAS.name),
    doc_md=__doc__,
    tags=[Tag.VENDAS, Tag.MIRROR],
    pool=FONTE_VENDAS,
    background=FONTE_VENDAS_BACKGROUND,
)
