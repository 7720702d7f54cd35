"""The two ends of the mirror, as Airflow's connections describe them."""

from __future__ import annotations

import json

import pytest
from psycopg.conninfo import conninfo_to_dict

from include.airflow_mirror import connections, settings
from include.conventions.errors import ConfigurationError

HOUR = settings.load("vendas")


def describe(monkeypatch: pytest.MonkeyPatch, **extra: object) -> None:
    connection = {
        "conn_type": "postgres",
        "host": "db.example",
        "port": 6432,
        "login": "reader",
        "password": "s3cr3t 'quoted'",
        "schema": "vendas",
        "extra": extra,
    }
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_VENDAS", json.dumps(connection))


def test_the_source_is_read_in_utc_unless_the_connection_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    describe(monkeypatch)
    assert connections.source("postgres_vendas", HOUR).zone.key == "UTC"
    describe(monkeypatch, source_timezone="America/Sao_Paulo")
    assert connections.source("postgres_vendas", HOUR).zone.key == "America/Sao_Paulo"


def test_other_extras_are_libpq_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    describe(monkeypatch, source_timezone="UTC", sslmode="require", options="-c search_path=public")
    source = connections.source("postgres_vendas", HOUR)
    parts = conninfo_to_dict(source.session_conninfo)
    assert parts["password"] == "s3cr3t 'quoted'"
    assert parts["sslmode"] == "require"
    assert "-c search_path=public" in str(parts["options"])
    assert "-c row_security=off" in str(parts["options"])
    assert source.settings(180004)["statement_timeout"] == "3600000ms"


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    describe(monkeypatch)
    source = connections.source("postgres_vendas", HOUR)
    assert "s3cr3t" not in repr(source)
    assert source.address == "db.example:6432/vendas"


def test_a_zone_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    describe(monkeypatch, source_timezone="Brasil/Paulista")
    with pytest.raises(ConfigurationError, match="source_timezone 'Brasil/Paulista' is not a time zone"):
        connections.source("postgres_vendas", HOUR)


def test_an_unknown_libpq_parameter_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    describe(monkeypatch, source_time_zone="UTC")
    with pytest.raises(ConfigurationError, match=r"connection postgres_vendas: .*source_time_zone"):
        connections.source("postgres_vendas", HOUR)
