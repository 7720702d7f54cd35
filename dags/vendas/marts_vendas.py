"""
# marts_vendas

Builds the marts of the sales in the database `vendas_marts` of the warehouse, by dbt: a star (`dim_cliente`, `dim_produto`,
`fato_venda`, `fato_item_venda`) and `vendas_por_dia`, `vendas_por_cidade`, `produtos_mais_vendidos`, `taxa_de_entrega`.

A run starts when `etl_vendas` has moved rows of any table, one run at a time. It reads only the sales that have changed
since the last run: an old sale that changes updates its day, and deleted sales leave the marts. The page Warehouse shows
the result of each model, below its sales. The log and the XCom of the task have each test, too.

To build all of them anew beside the old ones:

```json
{"refazer": true}
```
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Asset, AssetAny, Param, dag, get_current_context, task

from include.airflow_mirror import table_asset
from include.conventions.defaults import DEFAULT_ARGS
from include.conventions.failures import explained
from include.conventions.tags import Tag
from include.marts.results import DATABASE
from include.marts.settings import Settings
from include.vendas.tables import VENDAS

log = logging.getLogger(__name__)

SETTINGS = Settings.load()
MARTS = Asset(DATABASE, uri=f"x-clickhouse://{VENDAS.warehouse}/{DATABASE}")


@dag(
    schedule=AssetAny(*(table_asset(VENDAS, table) for table in VENDAS.names)),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    doc_md=__doc__,
    tags=[Tag.VENDAS],
    params={
        "refazer": Param(
            None,
            type=["null", "boolean"],
            title="Refazer",
            description="Build all marts anew beside the old ones, and exchange them.",
        )
    },
)
def marts_vendas() -> None:
    """Wire the task."""

    @task(outlets=[MARTS], execution_timeout=SETTINGS.timeout)
    @explained
    def dbt_build() -> list[dict[str, Any]]:
        from include.conventions.conf import refuse_unknown
        from include.conventions.connections import find
        from include.marts import dbt

        context = get_current_context()
        conf = context["dag_run"].conf or {}
        refuse_unknown(conf, ("refazer",))
        variables = dbt.environment(find(VENDAS.warehouse))
        results = dbt.build(variables, whole=conf.get("refazer") is True)
        resumo = dbt.summary(results)
        log.info("%s", resumo)
        context["outlet_events"][MARTS].extra = {
            "resumo": resumo,
            "segundos": {one.name: round(one.seconds, 2) for one in results if one.kind == "model"},
        }
        return [asdict(one) for one in results]

    dbt_build()


marts_vendas()
