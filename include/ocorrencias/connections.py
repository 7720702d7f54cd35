"""The service and the warehouse, from Airflow's connections `http_dados_rio` and `clickhouse_dw`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.conventions.connections import clickhouse, find
from include.conventions.errors import ConfigurationError
from include.ocorrencias.client import HttpTransport
from include.ocorrencias.settings import Policy

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

HTTP = "http_dados_rio"
CLICKHOUSE = "clickhouse_dw"


def service(policy: Policy) -> HttpTransport:
    """Return a transport to the service. The official provider's hook sets up credentials, proxies and TLS."""
    from airflow.providers.http.hooks.http import HttpHook

    find(HTTP)
    hook = HttpHook(http_conn_id=HTTP)
    try:
        session = hook.get_conn()
    except ValueError as error:
        raise ConfigurationError(f"connection {HTTP}: {error}") from None
    # No adapter with retries: `client` retries, and both together would multiply.
    return HttpTransport(session, hook.base_url, policy)


def warehouse() -> Client:
    """Return a new client of ClickHouse."""
    return clickhouse(CLICKHOUSE)
