"""The SQL files in `include/sql/source/`, on a real server."""
# ruff: noqa: F401, F811 (fixtures are imported by name)

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from local.servers.postgres import Postgres
from local.source.base import execute_file
from tests.local.postgres_fixtures import connection, database, server

TIMES = [
    ("created_at", "timestamp without time zone", "CURRENT_TIMESTAMP", False),
    ("updated_at", "timestamp without time zone", "CURRENT_TIMESTAMP", False),
]
# name, type, default, not null
TABLES = {
    "pais": [("pais_id", "integer", "serial", True), ("pais", "character varying(60)", None, True)],
    "cidade": [
        ("cidade_id", "integer", "serial", True),
        ("cidade_desc", "character varying(60)", None, True),
        ("cidade_uf", "character varying(2)", None, False),
        ("pais_id", "integer", None, False),
    ],
    "cliente": [
        ("cliente_id", "integer", "serial", True),
        ("nome", "character varying(60)", None, True),
        ("data_nasc", "date", None, False),
        ("data_cad", "date", None, False),
        ("cpf", "character varying(15)", None, False),
        ("cidade_id", "integer", None, False),
    ],
    "produto": [
        ("produto_id", "integer", "serial", True),
        ("nome", "character varying(100)", None, True),
        ("descricao", "text", None, False),
        ("preco_base", "numeric(10,2)", None, False),
        ("ativo", "boolean", "true", False),
    ],
    "venda": [
        ("venda_id", "integer", "serial", True),
        ("cliente_id", "integer", None, False),
        ("data", "date", None, False),
        ("entregue", "character(1)", None, False),
        ("valor_total", "numeric(10,2)", None, False),
    ],
    "item_venda": [
        ("item_id", "integer", "serial", True),
        ("venda_id", "integer", None, False),
        ("produto_id", "integer", None, False),
        ("valor_unitario", "numeric(10,2)", None, False),
        ("quantidade", "integer", None, False),
        ("valor_total", "numeric(10,2)", None, False),
    ],
}


@pytest.fixture
def schema(connection: psycopg.Connection) -> psycopg.Connection:
    execute_file(connection, "create_schema.sql")
    return connection


def indexed_columns(connection: psycopg.Connection) -> set[tuple[str, str]]:
    return set(
        connection.execute(
            """
            SELECT indrelid::regclass::text, attname
            FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
            WHERE NOT indisprimary AND indrelid::regclass::text = ANY(%s)
        """,
            [list(TABLES)],
        )
    )


def test_the_tables_are_those_of_the_course(schema: psycopg.Connection) -> None:
    found: dict[str, list[tuple]] = {}
    for table, *column in schema.execute("""
        SELECT
            attrelid::regclass::text, attname, format_type(atttypid, atttypmod),
            CASE WHEN pg_get_expr(adbin, adrelid) LIKE 'nextval(%' THEN 'serial' ELSE pg_get_expr(adbin, adrelid) END,
            attnotnull
        FROM pg_attribute
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0
        ORDER BY attrelid, attnum
    """):
        found.setdefault(table, []).append(tuple(column))
    assert found == {table: [*columns, *TIMES] for table, columns in TABLES.items()}


def test_indexes_are_on_foreign_keys_and_the_date_until_the_extraction_adds_its_own(
    schema: psycopg.Connection,
) -> None:
    first = {
        ("cidade", "pais_id"),
        ("cliente", "cidade_id"),
        ("venda", "cliente_id"),
        ("venda", "data"),
        ("item_venda", "venda_id"),
        ("item_venda", "produto_id"),
    }
    assert indexed_columns(schema) == first
    execute_file(schema, "create_indexes.sql")
    assert indexed_columns(schema) == first | {(table, "updated_at") for table in TABLES}


def test_every_update_sets_updated_at_to_its_transactions_start(schema: psycopg.Connection) -> None:
    for table, columns in TABLES.items():
        text = next(
            (name for name, kind, _, required in columns if kind.startswith("char") and required), None
        )
        names, values = (f"({text}, updated_at)", "('x', 'epoch')") if text else ("(updated_at)", "('epoch')")
        schema.execute(f"INSERT INTO {table} {names} VALUES {values}")
        with schema.transaction():
            schema.execute("SELECT pg_sleep(0.001)")
            schema.execute(f"UPDATE {table} SET created_at = created_at")
            assert schema.execute(
                f"SELECT count(*) FROM {table} WHERE updated_at = LOCALTIMESTAMP"
            ).fetchone() == (1,)


@pytest.mark.parametrize("file", ["create_schema.sql", "create_indexes.sql", "create_reader_role.sql"])
def test_a_second_time_changes_nothing(schema: psycopg.Connection, file: str) -> None:
    schema.execute("INSERT INTO pais (pais) VALUES ('Brasil')")
    execute_file(schema, file)
    execute_file(schema, file)
    assert schema.execute("SELECT pais_id, pais FROM pais").fetchall() == [(1, "Brasil")]


def test_the_reader_reads_and_sees_other_sessions_and_writes_nothing(
    server: Postgres, schema: psycopg.Connection
) -> None:
    execute_file(schema, "create_reader_role.sql")
    login: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "dbname": schema.info.dbname,
        "user": "mirror_reader",
    }
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(**login, password="guess")
    schema.execute("ALTER ROLE mirror_reader PASSWORD 'reader'")
    with psycopg.connect(**login, password="reader", autocommit=True) as reader, schema.transaction():
        for table in TABLES:
            assert reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
            for statement in (f"DELETE FROM {table}", f"ALTER TABLE {table} ADD x int"):
                with pytest.raises(
                    (psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)
                ):
                    reader.execute(statement)
        reader.execute("SET default_transaction_read_only = off")
        for table in TABLES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(f"DELETE FROM {table}")
        schema.execute("SELECT 1")
        seen = reader.execute(
            "SELECT xact_start IS NOT NULL FROM pg_stat_activity WHERE pid = %s", [schema.info.backend_pid]
        ).fetchone()
        assert seen == (True,)
