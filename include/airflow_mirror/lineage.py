"""Reports which columns a task of a mirror has moved, and from where to where, as OpenLineage: see docs/lineage.md.

The names of datasets are those of OpenLineage's specification, so that they meet what other tools report of the same tables:
`postgres://host:port` with `database.schema.table`, and `clickhouse://host:port` with `database.view`. No name holds a user
or a password.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict

from include.conventions.connections import find
from include.conventions.errors import TaskError

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset

    from include.mirror.engine import Engine
    from include.mirror.ledger import Moved
    from include.mirror.spec import TableSpec

log = logging.getLogger(__name__)


def report(between: Engine, moved: Sequence[Moved]) -> None:
    """Send an event of the running task with a source table and a view for each of `moved`; nothing if lineage is off.

    Never raises for a source or a receiver that does not answer: the rows have arrived.
    """
    from airflow.providers.openlineage.conf import is_disabled

    if is_disabled() or not moved:
        return

    from airflow.providers.openlineage.api import emit_dataset_lineage

    rows = {one.tabela: one.rows for one in moved}
    try:
        with between.source.connect() as connection:
            specs = between.specs(connection, rows.keys()).specs
    except (TaskError, psycopg.Error) as error:
        log.warning("no lineage is sent, because the source's columns could not be read: %s", error)
        return
    pairs = [
        datasets(spec, source_of(between), warehouse_of(between), rows[name]) for name, spec in specs.items()
    ]
    if pairs:
        emit_dataset_lineage(inputs=[pair[0] for pair in pairs], outputs=[pair[1] for pair in pairs])


def source_of(between: Engine) -> tuple[str, str]:
    """Return the namespace of the source's tables, and the name of its database. Of several hosts, the first one counts."""
    parts = conninfo_to_dict(between.source.conninfo)
    host, port = (str(parts.get(key) or "").partition(",")[0] for key in ("host", "port"))
    # A folder is that of a socket on this machine.
    place = "localhost" if not host or host.startswith("/") else host
    return f"postgres://{_address(place, port or '5432')}", str(
        parts.get("dbname") or parts.get("user") or ""
    )


def warehouse_of(between: Engine) -> tuple[str, str]:
    """Return the namespace of the warehouse's views, and the name of their database.

    An engine inside of the task's process has no address: there, the connection's name stands for it.
    """
    declaration = between.declaration
    connection = find(declaration.warehouse)
    default = "8443" if connection.extra_dejson.get("secure") else "8123"
    if connection.host:
        return f"clickhouse://{_address(connection.host, connection.port or default)}", declaration.views
    return f"clickhouse://{declaration.warehouse}", declaration.views


def datasets(
    spec: TableSpec, source: tuple[str, str], warehouse: tuple[str, str], rows: int
) -> tuple[InputDataset, OutputDataset]:
    """Return a source table and its view in the warehouse, with their columns. `rows` have moved."""
    from openlineage.client.event_v2 import InputDataset, OutputDataset
    from openlineage.client.facet_v2 import (
        column_lineage_dataset as lineage,
    )
    from openlineage.client.facet_v2 import (
        output_statistics_output_dataset as statistics,
    )
    from openlineage.client.facet_v2 import (
        schema_dataset as schema,
    )

    (source_namespace, source_database), (namespace, database) = source, warehouse
    name = f"{source_database}.{spec.schema}.{spec.relation}"
    same = [lineage.Transformation(type="DIRECT", subtype="IDENTITY")]
    return (
        InputDataset(
            source_namespace,
            name,
            facets={
                "schema": schema.SchemaDatasetFacet(
                    fields=[
                        schema.SchemaDatasetFacetFields(name=column.name, type=column.source.declared)
                        for column in spec.columns
                    ]
                )
            },
        ),
        OutputDataset(
            namespace,
            f"{database}.{spec.name}",
            facets={
                "schema": schema.SchemaDatasetFacet(
                    fields=[
                        schema.SchemaDatasetFacetFields(name=column.name, type=column.warehouse_type)
                        for column in spec.columns
                    ]
                ),
                "columnLineage": lineage.ColumnLineageDatasetFacet(
                    fields={
                        column.name: lineage.Fields(
                            [lineage.InputField(source_namespace, name, column.name, same)]
                        )
                        for column in spec.columns
                    }
                ),
            },
            outputFacets={"outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(rowCount=rows)},
        ),
    )


def _address(host: str, port: int | str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
