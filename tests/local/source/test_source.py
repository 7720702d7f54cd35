"""The source's base data, its past sales in bulk and its command line, on a real server."""
# ruff: noqa: F401, F811 (fixtures are imported by name)

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.servers.postgres import Postgres
from local.servers.server import free_port
from local.source import base
from local.source.base import SourceError
from local.source.bulk import SALES_PER_TRANSACTION, bulk
from tests.local.postgres_fixtures import connection, database, server

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[3]
UNTIL = datetime(2026, 3, 1, 12)
BASE_ROWS = {
    "pais": "SELECT pais_id, pais FROM pais ORDER BY 1",
    "cidade": "SELECT cidade_id, cidade_desc, cidade_uf, pais_id FROM cidade ORDER BY 1",
    "cliente": "SELECT cliente_id, nome, data_nasc, data_cad, cpf, cidade_id FROM cliente ORDER BY 1",
    "produto": "SELECT produto_id, nome, descricao, preco_base, ativo FROM produto ORDER BY 1",
}
SALES = {
    "venda": "SELECT venda.* FROM venda ORDER BY 1",
    "item_venda": "SELECT item_venda.* FROM item_venda ORDER BY 1",
}


def rows(dsn: str, queries: dict[str, str]) -> dict[str, list[tuple]]:
    with psycopg.connect(dsn) as connection:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}


def scalar(connection: psycopg.Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture
def two_databases(server: Postgres, database: str) -> tuple[str, str]:
    server.create_database("the_other")
    with psycopg.connect(server.dsn("the_other"), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return database, server.dsn("the_other")


@given(st.integers())
def test_a_cpf_has_right_check_digits(seed: int) -> None:
    text = base.cpf(base.generator(seed))
    digits = [int(character) for character in text if character.isdigit()]
    assert text == "{}{}{}.{}{}{}.{}{}{}-{}{}".format(*digits)
    for position in (9, 10):
        total = sum(digit * (position + 1 - index) for index, digit in enumerate(digits[:position]))
        assert digits[position] == total * 10 % 11 % 10


@given(st.integers())
def test_names_and_prices_fit_their_columns(seed: int) -> None:
    rng = base.generator(seed)
    assert 3 <= len(base.person_name(rng)) <= 60
    assert 0 < base.price(rng) < 10_000
    price = base.price(rng)
    assert price == round(price, 2)


def test_the_same_seed_gives_the_same_rows(two_databases: tuple[str, str]) -> None:
    first, second = two_databases
    counts = base.create(first, seed=7, clients=300, products=50)
    assert base.create(second, seed=7, clients=300, products=50) == counts
    assert rows(first, BASE_ROWS) == rows(second, BASE_ROWS)
    assert {name: len(found) for name, found in rows(first, BASE_ROWS).items()} == vars(counts)


def test_another_seed_gives_other_rows(two_databases: tuple[str, str]) -> None:
    first, second = two_databases
    base.create(first, seed=1, clients=20, products=20)
    base.create(second, seed=2, clients=20, products=20)
    one, other = rows(first, BASE_ROWS), rows(second, BASE_ROWS)
    assert (one["pais"], one["cidade"]) == (other["pais"], other["cidade"])
    assert one["cliente"] != other["cliente"]
    assert one["produto"] != other["produto"]


def test_a_second_time_leaves_the_base_data_alone(database: str) -> None:
    base.create(database, clients=20, products=20)
    before = rows(database, BASE_ROWS)
    assert base.create(database, seed=2, clients=50, products=50, indexes=True) == base.BaseData()
    assert rows(database, BASE_ROWS) == before


def test_the_base_data_is_brazil_and_hard_to_carry(database: str, connection: psycopg.Connection) -> None:
    base.create(database)
    brazil = "FROM cidade JOIN pais USING (pais_id) WHERE pais = 'Brasil'"
    assert scalar(connection, f"SELECT count(DISTINCT cidade_uf) {brazil}") == 27
    assert scalar(connection, f"SELECT count(*) {brazil}") > 300
    assert scalar(connection, "SELECT count(*) FROM cidade WHERE cidade_uf IS NULL") > 5
    assert (
        scalar(
            connection,
            "SELECT count(*) FROM (SELECT cidade_desc, cidade_uf FROM cidade GROUP BY 1, 2 HAVING count(*) > 1) AS twice",
        )
        == 0
    )
    for text in ("\t", "\n", "\r\n", "\\", '"', "'", "👍", "\\N", "NULL", "ção"):
        assert connection.execute(
            "SELECT count(*) > 0 FROM produto WHERE position(%s IN descricao) > 0", [text]
        ).fetchone() == (True,), text
    for column, table in [
        ("descricao", "produto"),
        ("preco_base", "produto"),
        ("data_nasc", "cliente"),
        ("cpf", "cliente"),
        ("cidade_id", "cliente"),
    ]:
        assert 0 < scalar(connection, f"SELECT count(*) FROM {table} WHERE {column} IS NULL") < 200, column


def test_bulk_totals_are_exact_and_times_lie_in_the_past(
    database: str, connection: psycopg.Connection
) -> None:
    base.create(database, clients=50, products=30, indexes=True)
    done: list[int] = []
    sales = SALES_PER_TRANSACTION + 1_000
    result = bulk(database, sales, days=10, until=UNTIL, progress=done.append)
    assert done == [SALES_PER_TRANSACTION, sales]
    assert scalar(connection, "SELECT count(*) FROM venda") == result.sales == sales
    assert scalar(connection, "SELECT count(*) FROM item_venda") == result.items
    wrong = scalar(
        connection,
        """
        SELECT count(*)
        FROM venda LEFT JOIN (
            SELECT venda_id, sum(valor_total) AS total, count(*) AS items,
                   bool_and(valor_total = valor_unitario * quantidade) AS exact
            FROM item_venda GROUP BY venda_id
        ) AS item USING (venda_id)
        WHERE valor_total IS DISTINCT FROM total OR NOT exact OR items NOT BETWEEN 1 AND 8
    """,
    )
    assert wrong == 0
    assert scalar(connection, "SELECT count(DISTINCT quantidade) FROM item_venda") == 5
    assert scalar(connection, "SELECT count(DISTINCT cliente_id) FROM venda") == 50
    [(first, last, updated)] = connection.execute(
        "SELECT min(created_at), max(created_at), max(updated_at) FROM venda"
    )
    assert (first, last < UNTIL, updated <= UNTIL) == (UNTIL - timedelta(days=10), True, True)
    assert connection.execute("""
        SELECT count(*) FROM venda
        WHERE data <> created_at::date OR (entregue = 'S') <> (updated_at > created_at) OR updated_at < created_at
    """).fetchone() == (0,)
    assert {row[0] for row in connection.execute("SELECT DISTINCT entregue FROM venda")} == {"S", "N"}
    assert (
        scalar(
            connection,
            "SELECT count(*) FROM item_venda JOIN venda USING (venda_id) WHERE item_venda.updated_at <> venda.created_at",
        )
        == 0
    )
    # `bulk` skips the checks of foreign keys, so this checks all of them.
    assert (
        scalar(
            connection,
            """
        SELECT count(*) FROM item_venda
        LEFT JOIN venda USING (venda_id) LEFT JOIN cliente USING (cliente_id) LEFT JOIN produto USING (produto_id)
        WHERE cliente.cliente_id IS NULL OR produto.produto_id IS NULL
    """,
        )
        == 0
    )


def test_bulk_is_the_same_for_the_same_seed(two_databases: tuple[str, str]) -> None:
    first, second = two_databases
    for dsn in two_databases:
        base.create(dsn, clients=20, products=20)
        bulk(dsn, 2_000, seed=3, until=UNTIL)
    assert rows(first, SALES) == rows(second, SALES)
    bulk(first, 100, seed=3, until=UNTIL)
    bulk(second, 100, seed=4, until=UNTIL)
    assert rows(first, SALES) != rows(second, SALES)


def test_bulk_and_the_base_data_need_no_superuser(
    server: Postgres, database: str, connection: psycopg.Connection
) -> None:
    connection.execute("CREATE ROLE seller LOGIN PASSWORD 'seller'")
    connection.execute("GRANT CREATE ON SCHEMA public TO seller")
    dsn = f"postgresql://seller:seller@127.0.0.1:{server.port}/{connection.info.dbname}"
    base.create(dsn, clients=20, products=20)
    result = bulk(dsn, 500)
    assert scalar(connection, "SELECT count(*) FROM item_venda") == result.items


@pytest.mark.parametrize(
    ("sales", "days", "message"), [(0, 1, "sales is 0"), (-5, 1, "sales is -5"), (1, 0, "days is 0")]
)
def test_bulk_refuses_bad_numbers(sales: int, days: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bulk("", sales, days=days)


def test_bulk_needs_base_data(database: str, connection: psycopg.Connection) -> None:
    base.execute_file(connection, "create_schema.sql")
    with pytest.raises(SourceError, match="create its base data first"):
        bulk(database, 1)


def command_line(*arguments: str, dsn: str | None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DSN"}
    return subprocess.Popen(
        [sys.executable, "-m", "local.source", *arguments],
        cwd=ROOT,
        env=environment if dsn is None else {**environment, "SOURCE_DSN": dsn},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_line_creates_fills_and_simulates(database: str, connection: psycopg.Connection) -> None:
    with command_line("create", "--clients", "30", "--products", "20", "--indexes", dsn=database) as process:
        assert json.loads(process.communicate()[0])["cliente"] == 30
    with command_line("bulk", "300", "--days", "2", dsn=database) as process:
        assert json.loads(process.communicate()[0])["sales"] == 300
    with command_line(
        "simulate", "--rate", "40", "--every", "1", "--hold", "60", "60", "--late", "0.1", dsn=database
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        last = json.loads(process.communicate()[0].splitlines()[-1])
    assert process.returncode == 0
    assert last["sales"] >= first["sales"] >= 1
    assert scalar(connection, "SELECT count(*) - 300 FROM venda") == last["sales"]


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        (None, "SOURCE_DSN is not set"),
        ("postgresq//user:s3cret@h/d", "SOURCE_DSN can't be parsed"),
        ("postgresql://user:s3cret@127.0.0.1:{port}/d", "port {port} failed: Connection refused"),
        ("{no_schema}", "no schema"),
    ],
)
def test_bad_input_is_one_line_without_the_password(database: str, dsn: str | None, message: str) -> None:
    values = {"port": free_port(), "no_schema": database}
    with command_line("simulate", dsn=dsn and dsn.format(**values)) as process:
        output, error = process.communicate()
    assert (process.returncode, output, error.count("\n")) == (1, "", 1)
    assert message.format(**values) in error
    assert "s3cret" not in error
