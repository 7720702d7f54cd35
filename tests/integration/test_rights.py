"""What the project sends to ClickHouse works with the rights of deploy/clickhouse/users.xml, and little else does."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_urlsafe

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from local.servers.clickhouse import ClickHouse
from local.servers.clickhouse.allowed import GRANTS
from local.servers.server import free_port
from tests.include.ocorrencias.conftest import service
from tests.include.ocorrencias.test_archive import collect, query, test_a_run_is_collected_once
from tests.integration import test_marts
from tests.integration.test_rebuild import rebuild
from tests.integration.test_reconcile import look
from tests.lab import Lab

__all__ = ["collect", "query", "service", "test_a_run_is_collected_once"]

pytestmark = pytest.mark.security

USERS = Path(__file__).resolve().parents[2] / "deploy" / "clickhouse" / "users.xml"
DATABASES = ("vendas_raw", "vendas_dw", "vendas_marts", "ocorrencias", "ocorrencias_replay")
# The service's own statements when it starts and when a client goes away, and those of tests between two of them.
APART = (
    *(grant for grant in GRANTS if grant.startswith("GRANT TABLE ENGINE")),
    "GRANT CREATE DATABASE, DROP DATABASE ON default.*",
    "GRANT KILL QUERY ON *.*",
    *(f"GRANT DROP DATABASE ON {database}.*" for database in DATABASES),
)
START = """
import json, os, sys
from local.servers.clickhouse import __main__, allowed
allowed.GRANTS = json.loads(os.environ["GRANTS"])
sys.exit(__main__.main())
"""


class Granted(ClickHouse):
    """The service whose engine has the deployment's grants instead of its own."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", START, *super().command()[3:]]

    def environment(self) -> dict[str, str]:
        queries = ElementTree.parse(USERS).iterfind("users/airflow/grants/query")  # noqa: S314
        grants = [query.text for query in queries]
        assert len(grants) > len(DATABASES)
        return {**super().environment(), "GRANTS": json.dumps([*grants, *APART])}


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    folder = tmp_path_factory.mktemp("granted")
    with Granted(folder / "data", free_port(), "airflow", token_urlsafe(12), folder / "log") as server:
        yield server


def test_the_marts_are_built_and_built_anew(lab: Lab) -> None:
    lab.run()
    test_marts.build(lab)
    test_marts.build(lab, whole=True)
    found, expected = test_marts.read(lab, "dim_cliente")
    assert found == expected


def test_the_mirror_runs_rebuilds_and_reconciles(lab: Lab) -> None:
    lab.execute("CREATE TABLE nota (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), texto text)")
    lab.execute("INSERT INTO nota (texto) SELECT n::text FROM generate_series(1, 20) AS n")
    lab.mirror_only("cliente", "venda", "item_venda", "nota")
    with lab.connect() as connection:
        for _ in range(20):
            lab.sell(connection)
    lab.run()
    lab.assert_equal()
    lab.execute("ALTER TABLE nota ADD COLUMN outra integer")
    lab.execute("COMMENT ON TABLE nota IS 'com comentário'")
    lab.execute("UPDATE nota SET outra = 1")
    lab.execute("DELETE FROM nota WHERE texto = '7'")
    lab.run()
    rebuild(lab, "nota", "venda")
    lab.assert_equal()
    with closing(lab.clickhouse.client()) as client:
        client.command(
            "INSERT INTO vendas_raw.nota SELECT * REPLACE ('other' AS texto, version + 1 AS version) "
            "FROM vendas_raw.nota LIMIT 1"
        )
    assert look(lab, "nota").word == "repaired"
    lab.assert_equal()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE DATABASE other",
        "CREATE TABLE default.t (a UInt8) ENGINE = MergeTree ORDER BY a",
        "SELECT * FROM system.users",
        "SELECT * FROM system.grants",
        "CREATE USER other",
        "GRANT SELECT ON *.* TO default",
        "CREATE FUNCTION f AS (x) -> x",
        "CREATE DICTIONARY vendas_dw.d (a UInt64) PRIMARY KEY a SOURCE(NULL()) LAYOUT(FLAT()) LIFETIME(0)",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a Int8')",
        "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "SELECT * FROM remote('127.0.0.1', system.one)",
        "SYSTEM FLUSH LOGS",
    ],
)
def test_nothing_else_is_allowed(clickhouse: ClickHouse, statement: str) -> None:
    with closing(clickhouse.client()) as client, pytest.raises(DatabaseError) as raised:
        client.command(statement)
    assert raised.value.code == 497
