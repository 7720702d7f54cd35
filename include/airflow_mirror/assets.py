"""The assets of a mirror: one for each table, and one for all of its views.

The asset of a table gets an event when rows of the table have arrived; a task that failed for good emits none. The asset of
the whole mirror gets one event per run, when the run was checked, whether rows have moved or not.

DAG files name them: `schedule=table_asset(VENDAS, "venda")`.
"""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

from include.mirror.declaration import Mirror


def mirror_asset(declaration: Mirror) -> Asset:
    """Return the asset of all views of a mirror."""
    return Asset(
        declaration.views,
        uri=f"x-clickhouse://{declaration.warehouse}/{declaration.views}",
        # How the page Warehouse finds the mirror: see include/pages/warehouse/mirrors.py.
        extra={"mirror": declaration.name, "source": declaration.source, "storage": declaration.storage},
    )


def table_asset(declaration: Mirror, table: str) -> Asset:
    """Return the asset of one table. `table` is its name in the warehouse; characters beyond ASCII are percent-encoded."""
    whole, name = mirror_asset(declaration), quote(table, safe="")
    return Asset(f"{whole.name}.{name}", uri=f"{whole.uri}/{name}")


def any_table(declaration: Mirror) -> AssetAlias:
    """Return the alias of all tables' assets: a task chooses among them when it runs, and a DAG may wait for any of them.

    The tables of a whole schema are known only to the source.
    """
    return AssetAlias(f"{declaration.views}.*")
