"""The simulator's health check: a sale within the last minutes, or a one-line error with the time of the last sale."""

from __future__ import annotations

import psycopg
import pytest
from click.testing import CliRunner

from local.servers.postgres import Postgres
from local.source.__main__ import main
from tests.conftest import new_source


@pytest.fixture
def source(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    dsn = new_source(postgres)
    monkeypatch.setenv("SOURCE_DSN", dsn)
    return dsn


def sell(dsn: str, age: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO venda (updated_at) VALUES (LOCALTIMESTAMP - CAST(%s AS interval))", [age]
        )


def test_a_source_without_sales_is_not_selling(source: str) -> None:
    result = CliRunner().invoke(main, ["selling"])
    assert result.exit_code == 1
    assert result.output == "Error: no sale was written within 2 minutes; there is none\n"


def test_an_old_sale_is_not_enough(source: str) -> None:
    sell(source, "3 minutes")
    assert CliRunner().invoke(main, ["selling"]).exit_code == 1
    assert CliRunner().invoke(main, ["selling", "--minutes", "4"]).exit_code == 0


def test_a_recent_sale_is(source: str) -> None:
    sell(source, "3 minutes")
    sell(source, "1 second")
    assert CliRunner().invoke(main, ["selling"]).exit_code == 0


def test_a_database_without_the_schema_is_reported_in_one_line(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DSN", postgres.dsn())
    result = CliRunner().invoke(main, ["selling"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: database: ")
    assert len(result.output.splitlines()) == 1
