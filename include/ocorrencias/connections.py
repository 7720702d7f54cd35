"""The service and the warehouse, from Airflow's connections `http_dados_rio` and `clickhouse_dw`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.conventions.connections import clickhouse, http
from include.ocorrencias.client import HttpTransport
from include.ocorrencias.settings import Policy

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

HTTP = "http_dados_rio"
CLICKHOUSE = "clickhouse_dw"


def service(policy: Policy) -> HttpTransport:
    """Return a transport to the service."""
    session, url = http(HTTP)
    # No adapter with retries: `client` retries, and both together would multiply.
    return HttpTransport(session, url, policy)


def warehouse() -> Client:
    """Return a new client of ClickHouse."""
    return clickhouse(CLICKHOUSE)
