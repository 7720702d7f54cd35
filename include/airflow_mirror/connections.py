"""Opens a mirror's source and warehouse through the Airflow connections that its declaration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.conventions import zones
from include.conventions.connections import clickhouse, conninfo, find
from include.conventions.errors import ConfigurationError
from include.mirror.errors import WarehouseError, WarehouseUnavailableError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from include.airflow_mirror.settings import Settings
    from include.mirror.declaration import Mirror
    from include.mirror.engine import Engine
    from include.mirror.reconcile import Limits
    from include.mirror.source.session import Source

ZONE = "source_timezone"
"""Key in the extra of the source's connection: the time zone of its timestamps without zone; UTC if absent."""


def engine(declaration: Mirror, settings: Settings) -> Engine:
    """Return a mirror with its source and warehouse. In a cluster, the ClickHouse connection must name one replica."""
    from include.mirror.engine import Engine, Options
    from include.mirror.warehouse.client import Warehouse

    return Engine(
        declaration,
        source(declaration.source, settings),
        Warehouse(
            lambda: _client(declaration.warehouse), declaration.storage, declaration.views, settings.cluster
        ),
        Options(
            settings.grace,
            settings.max_rows,
            settings.tasks,
            settings.timeout,
            settings.sweep,
            settings.compare_keys,
        ),
    )


def limits(settings: Settings) -> Limits:
    """Return the limits of reconciliation."""
    from include.mirror.reconcile import Limits

    return Limits(
        settings.reconcile_share / 100, settings.reconcile_patience, settings.reconcile_deletes / 100
    )


def source(name: str, settings: Settings) -> Source:
    """Return a mirror's source. Extra keys other than `source_timezone` are libpq parameters."""
    from include.mirror.source.session import Source

    connection = find(name)
    extra = dict(connection.extra_dejson)
    zone_name = extra.pop(ZONE, "UTC")
    zone = zones.find(zone_name)
    if zone is None:
        raise ConfigurationError(
            f"connection {name}: {ZONE} {zone_name!r} is not a time zone; write it like America/Sao_Paulo"
        )
    return Source(conninfo(connection, extra), zone, settings.timeout, name)


def _client(name: str) -> Client:
    from clickhouse_connect.driver.exceptions import Error

    from include.conventions.heals import clickhouse_heals

    try:
        return clickhouse(name)
    except Error as error:
        connection = find(name)
        kind = WarehouseUnavailableError if clickhouse_heals(error) else WarehouseError
        raise kind(
            f"ClickHouse at {connection.host}:{connection.port} (connection {name}) refused: {error}"
        ) from None
