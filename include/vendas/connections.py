"""The two ends of the mirror, from Airflow's connections `postgres_vendas` and `clickhouse_dw`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from include.conventions.connections import conninfo, missing
from include.mirror.errors import ConfigurationError, WarehouseError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from include.mirror.cluster import Cluster
    from include.mirror.source import Source
    from include.mirror.warehouse import Warehouse

POSTGRES = "postgres_vendas"
CLICKHOUSE = "clickhouse_dw"
ZONE = "source_timezone"
"""Key in the extra of `postgres_vendas`: the zone of the source's timestamps, UTC if absent."""


def source(timeout: timedelta) -> Source:
    """Return the sales system. Extra keys other than `source_timezone` are libpq parameters."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    from include.mirror.source import Source

    try:
        connection = BaseHook.get_connection(POSTGRES)
    except AirflowNotFoundException:
        raise ConfigurationError(missing(POSTGRES)) from None
    extra = dict(connection.extra_dejson)
    name = extra.pop(ZONE, "UTC")
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError):
        raise ConfigurationError(
            f"connection {POSTGRES}: {ZONE} {name!r} is not a time zone; write it like America/Sao_Paulo"
        ) from None
    try:
        address = conninfo(connection, extra)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return Source(address, zone, timeout)


def warehouse(cluster: Cluster | None = None) -> Warehouse:
    """Return the warehouse, through the official provider's hook; the connection names one replica of a cluster."""
    from include.mirror.warehouse import Warehouse

    return Warehouse(_client, cluster=cluster)


def _client() -> Client:
    from airflow.providers.clickhousedb.hooks.clickhouse import ClickHouseHook
    from airflow.sdk.exceptions import AirflowNotFoundException
    from clickhouse_connect.driver.exceptions import Error

    hook = ClickHouseHook(clickhouse_conn_id=CLICKHOUSE)
    try:
        return hook.get_client()
    except AirflowNotFoundException:
        raise ConfigurationError(missing(CLICKHOUSE)) from None
    except Error as error:
        connection = hook.get_connection(CLICKHOUSE)
        raise WarehouseError(
            f"ClickHouse at {connection.host}:{connection.port} (connection {CLICKHOUSE}) refused: {error}"
        ) from None
