from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from include.mirror import survey as survey_module
from include.mirror.__main__ import main
from include.mirror.catalog import Server
from include.mirror.declaration import Mirror, Schema, Table
from include.mirror.survey import survey
from local.servers.postgres import Postgres

ROOT = Path(__file__).resolve().parents[3]

SCHEMA = """
CREATE FUNCTION marca() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END $$;
CREATE TABLE venda (
    venda_id bigserial PRIMARY KEY, cliente varchar(60), total numeric(10, 2) NOT NULL, parcelas numeric(8, 2)[],
    classe refcursor, updated_at timestamp DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX ON venda (updated_at);
CREATE TRIGGER marca BEFORE UPDATE ON venda FOR EACH ROW EXECUTE FUNCTION marca();
INSERT INTO venda (total) SELECT n FROM generate_series(1, 2000) AS n;
ANALYZE venda;
CREATE TABLE "Item [1]" (a integer, "b`c" uuid, PRIMARY KEY ("b`c", a));
CREATE TABLE sem_chave (a integer, b text);
CREATE VIEW vista AS SELECT venda_id, total FROM venda;
CREATE SCHEMA boa;
CREATE TABLE boa.pedido (id integer PRIMARY KEY);
"""


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> str:
    postgres.create_database("conferencia")
    with psycopg.connect(postgres.dsn("conferencia"), autocommit=True) as connection:
        connection.execute(SCHEMA)
    return postgres.dsn("conferencia")


@pytest.fixture
def check(dsn: str) -> Callable[..., Result]:
    def run(*arguments: str, source: str | None = dsn, **environment: str | None) -> Result:
        given = {"SOURCE_DSN": None, **environment}
        options = ["--source", source] if source else []
        return CliRunner().invoke(main, ["check", *options, *arguments], env=given)

    return run


def test_a_schema_in_which_nothing_is_refused(check):
    result = check("--schema", "boa")
    assert result.exit_code == 0, result.output
    assert "boa.pedido" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 table can be mirrored (1 by scan); 0 refused"


def test_what_would_be_refused_is_said_with_the_statement_and_the_exit_code(check):
    result = check()
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    (refused,) = [line for line in lines if line.startswith("refused: ")]
    assert refused.startswith("refused: public.sem_chave has no key")
    assert 'ALTER TABLE "public"."sem_chave" ADD PRIMARY KEY' in refused
    assert lines[-1].startswith(
        "2 tables can be mirrored (1 by scan, 1 by window); 1 refused; about 2,000 rows"
    )
    assert "400,000 rows or 40 MB a second" in lines[-1]
    for expected in ("public.Item [1]", "b`c, a", "bigint → Int64", "what changed", "window: updated_at is"):
        assert expected in result.stdout
    assert "note: views and foreign tables are mirrored only when they are named: vista" in lines
    assert (
        "note: public.venda: no entry for the type of classe (refcursor); it travels as PostgreSQL's own text"
        in lines
    )
    assert any('run ANALYZE "public"."Item [1]", "public"."sem_chave"' in line for line in lines)
    assert any("only reading the rows shows" in line and "public.venda.total" in line for line in lines)


def test_tables_by_name(check):
    result = check("--table", "venda", "--table", "boa.pedido")
    assert result.exit_code == 0
    assert "public.venda" in result.stdout
    assert "boa.pedido" in result.stdout
    assert "sem_chave" not in result.stdout


def test_names_that_do_not_exist(check):
    result = check("--table", "public.vendas", "--table", "outra.coisa")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "refused: there is no table public.vendas; did you mean 'public.venda'?",
        "refused: there is no table outra.coisa",
        "0 tables can be mirrored; 2 refused",
    ]
    result = check("--schema", "bao")
    assert result.exit_code == 1
    assert "schema bao has no tables, or does not exist; did you mean 'boa'?" in result.stdout


def test_one_document(check):
    result = check("--json", "--ddl")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["refused"]
    assert document["server"]["version"] >= 14
    tables = {table["table"]: table for table in document["tables"]}
    venda = tables["public.venda"]
    assert (venda["key"], venda["way"], venda["rows"]) == (["venda_id"], "window", 2000)
    assert venda["deletes_by"] == "keys"
    assert venda["partition_width"] == 10_000_000
    assert venda["order_by"] == ["venda_id"]
    assert venda["columns"][0] == {"name": "venda_id", "source": "bigint", "warehouse": "Int64"}
    assert venda["each_run_seconds"] is None
    assert len(venda["ddl"]) == 2
    assert tables["public.sem_chave"]["refused"]
    assert tables["public.sem_chave"]["ddl"] == []
    assert [finding["table"] for finding in document["findings"] if finding["level"] == "refused"] == [
        "public.sem_chave"
    ]


def test_the_statements_alone_go_to_standard_output(check):
    result = check("--ddl", "--storage", "a_raw", "--views", "a")
    assert result.exit_code == 1
    assert "refused: public.sem_chave" in result.stderr
    statements = result.stdout
    assert "refused: " not in statements
    assert "CREATE DATABASE IF NOT EXISTS `a_raw`;" in statements
    assert "ORDER BY (`b\\`c`, `a`)" in statements
    assert "CREATE OR REPLACE VIEW `a`.`venda` AS" in statements
    assert "-- public.sem_chave: refused\n" in statements


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        (None, []),
        ("postgresql://u:segredo@127.0.0.1:1/x", []),
        ("postgresql://u:seg@redo@127.0.0.1:1/x", []),
        ("postgresql://u:seg/redo@127.0.0.1:1/x", []),
        ("postgres//u:segredo@h/x", []),
        ("host=127.0.0.1 port=1 password=segredo", []),
        ("host=127.0.0.1 porta=1 password=segredo", []),
        ("host=127.0.0.1 port=1 connect_timeout=segredo", []),
        (None, ["postgresql://u:segredo@h/x"]),
        ("host=127.0.0.1 port=1", ["--table", "a.b.c"]),
        ("host=127.0.0.1 port=1", ["--tabela", "a"]),
    ],
)
def test_a_wrong_command_line_or_an_unreachable_server(check, source, arguments):
    result = check(*arguments, source=source)
    assert result.exit_code == 2
    assert result.stdout == ""
    for part in ("segredo", "seg@", "redo@", "seg/", "Traceback"):
        assert part not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.lower().startswith("error: ")]
    assert result.stderr.splitlines()[-1] == line


def test_a_wrong_password(check, postgres, dsn):
    result = check(source=dsn.replace(postgres.password, "segredo"))
    assert result.exit_code == 2
    assert 'password authentication failed for user "postgres"' in result.stderr
    assert "segredo" not in result.stderr


def test_the_source_and_the_password_from_the_environment(check, postgres, dsn):
    without = f"host=127.0.0.1 port={postgres.port} dbname=conferencia user=postgres"
    assert check("--schema", "boa", source=None, SOURCE_DSN=dsn).exit_code == 0
    result = check("--schema", "boa", source=None, SOURCE_DSN=without, PGPASSWORD=postgres.password)
    assert result.exit_code == 0, result.output


def test_a_role_that_may_nothing(check, postgres, dsn):
    postgres.create_role("leitor [novo]", postgres.password)
    result = check(source=dsn.replace("//postgres:", "//leitor%20%5Bnovo%5D:"))
    assert result.exit_code == 1
    assert 'run GRANT SELECT ON "public"."venda" TO "leitor [novo]"' in result.stdout
    assert 'run GRANT pg_read_all_stats TO "leitor [novo]"' in result.stdout
    # The types and the key are shown all the same.
    assert "bigint → Int64" in result.stdout
    assert "GRANT pg_read_all_stats" not in check("--schema", "boa", source=dsn).stdout


def test_a_table_that_is_being_altered(check, dsn, monkeypatch):
    monkeypatch.setattr("include.mirror.__main__.SETTINGS", "-c lock_timeout=200ms")
    with psycopg.connect(dsn) as other:
        other.execute("LOCK TABLE boa.pedido IN ACCESS EXCLUSIVE MODE")
        result = check("--schema", "boa")
    assert result.exit_code == 0
    assert (
        "note: the keys' ranges, from which partitions follow, could not be read: canceling" in result.stdout
    )


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (
            Server(13, "r", standby=False, sees_sessions=True, block=8192),
            "PostgreSQL 13; 14 or newer is needed",
        ),
        (Server(18, "r", standby=True, sees_sessions=True, block=8192), "the server is a standby"),
    ],
)
def test_servers_that_will_not_do(dsn, monkeypatch, server, message):
    monkeypatch.setattr(survey_module.catalog, "server", lambda _connection: server)
    with psycopg.connect(dsn) as connection:
        found = survey(connection, Mirror("m", "s", "w", "a", "b", [Table("venda")]))
    assert found.refused
    assert any(message in finding.text for finding in found.findings if finding.level == "refused")


def test_what_is_wrong_with_a_declaration_by_itself(dsn):
    mirror = Mirror(
        "m", "s", "w", "a b", "b", [Table("venda", way="janela"), Table("venda", leave_out=["totl"])]
    )
    with psycopg.connect(dsn) as connection:
        found = survey(connection, mirror)
    texts = [finding.text for finding in found.findings if finding.level == "refused"]
    assert "storage is 'a b'" in texts[0]
    assert "way is 'janela'" in texts[1]
    assert any("did you mean 'total'" in text for text in texts)


def test_what_is_wrong_with_a_schema_and_names_that_collide(dsn):
    schema = Schema("public", leave_out=["sem_chav"], tables=[Table("boa.pedido", to="venda")])
    with psycopg.connect(dsn) as connection:
        found = survey(connection, Mirror("m", "s", "w", "a", "b", schema))
    texts = [finding.text for finding in found.findings if finding.level == "refused"]
    assert (
        texts[0] == "leave_out names what does not exist: public.sem_chav; did you mean 'public.sem_chave'?"
    )
    assert texts[1].startswith("boa.pedido and public.venda would both be called venda in the warehouse")


def test_everything_that_is_wrong_with_a_table_is_found_at_once(dsn):
    table = Table("sem_chave", columns={"a": "UUID", "b": "Int8"}, way="window", only=True)
    with psycopg.connect(dsn) as connection:
        found = survey(connection, Mirror("m", "s", "w", "a", "b", [table]))
    texts = [finding.text for finding in found.findings if finding.level == "refused"]
    for part in ("has no key", "way='window'", "public.sem_chave.a: ", "public.sem_chave.b: "):
        assert sum(part in text for text in texts) == 1, texts


def test_without_airflow_and_as_a_module(dsn):
    code = (
        "import sys; sys.modules['airflow'] = None; sys.modules['clickhouse_connect'] = None; import runpy;"
        "runpy.run_module('include.mirror', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "--schema", "boa", "--ddl"],
        cwd=ROOT,
        env={**os.environ, "SOURCE_DSN": dsn},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "`mirror_raw`.`pedido`" in done.stdout
