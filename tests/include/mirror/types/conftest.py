"""Both servers, with their own database for these tests."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from adbc_driver_postgresql import dbapi
from psycopg.conninfo import make_conninfo

from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from tests.include.mirror.types.way import OPTIONS, Way

OTHER_SETTINGS = {
    "session_timezone": "America/Sao_Paulo",
    "bool_true_representation": "sim",
    "date_time_64_output_format_cut_trailing_zeros_align_to_groups_of_thousands": 1,
    "output_format_decimal_trailing_zeros": 1,
}
"""Settings that a user's profile may have, and that must not change any result."""


@pytest.fixture(scope="session")
def way(postgres: Postgres, clickhouse: ClickHouse) -> Iterator[Way]:
    """Connections to both, with the settings that the mirror's sessions pin."""
    postgres.create_database("types")
    conninfo = make_conninfo(postgres.dsn("types"), options=OPTIONS, client_encoding="UTF8")
    first = clickhouse.client()
    first.command("CREATE DATABASE IF NOT EXISTS types")
    first.close()
    client = clickhouse.client(database="types", settings=OTHER_SETTINGS)
    with (
        psycopg.connect(conninfo, autocommit=True) as connection,
        dbapi.connect(conninfo, autocommit=True) as adbc,
    ):
        yield Way(connection, adbc, client)
    client.command("DROP DATABASE types SYNC")
    client.close()
