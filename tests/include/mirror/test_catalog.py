from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from include.mirror import catalog
from include.mirror.catalog import key_ranges, read, relation_names, server
from include.mirror.names import pg
from include.mirror.relation import Index, Relation, SourceColumn, SourceType
from local.servers.postgres import Postgres

LONG = "ç" * 31 + "x"
"""63 bytes, PostgreSQL's longest name."""

ODD = ["Pedido", "pedido", "margem_%", "código", "com espaço", "as'pas\"duplas", "crase`", "select", LONG]

SCHEMA = f"""
CREATE DOMAIN inteiro AS integer;
CREATE DOMAIN codigo AS inteiro NOT NULL;
CREATE DOMAIN moeda AS numeric(12, 2) DEFAULT 0;
CREATE DOMAIN moedas AS moeda[];
CREATE TYPE cor AS ENUM ('verde', 'azul');
-- Older versions use a new label only in the next transaction.
COMMIT;
ALTER TYPE cor ADD VALUE 'anil' BEFORE 'azul';
COMMIT;
CREATE DOMAIN cor_certa AS cor CHECK (VALUE <> 'anil');
CREATE TYPE ponto AS (x integer, y integer);
CREATE TABLE tipos (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    codigo codigo,
    moeda moeda,
    moedas moedas,
    cor cor NOT NULL DEFAULT 'azul',
    cores cor[],
    certa cor_certa,
    ponto ponto,
    faixa int4range,
    faixas int4multirange,
    taxas numeric(5, 3)[],
    vetor int2vector,
    texto varchar(60),
    quando timestamp(3),
    removida integer,
    dobro integer GENERATED ALWAYS AS (codigo * 2) STORED,
    serie serial
);
ALTER TABLE tipos DROP COLUMN removida;

CREATE SCHEMA "FilialSul";
CREATE TABLE "FilialSul".pedido (id integer);
{"".join(f"CREATE TABLE {pg(name)} ({pg('id ' + name[:3])} integer, {pg(name)} text NOT NULL);" for name in ODD)}

CREATE TABLE chaves (a integer NOT NULL, b integer NOT NULL, c text NOT NULL, PRIMARY KEY (b, a) INCLUDE (c));
CREATE UNIQUE INDEX chaves_metade ON chaves (a) WHERE a > 0;
CREATE UNIQUE INDEX chaves_expressao ON chaves (lower(c), a);
CREATE INDEX chaves_hash ON chaves USING hash (c);

CREATE TABLE gatilhos (id integer PRIMARY KEY, "Alterado" timestamp);
CREATE FUNCTION marca() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER antes BEFORE INSERT OR UPDATE ON gatilhos FOR EACH ROW EXECUTE FUNCTION marca('um', 'dois ç', '');
CREATE TRIGGER colunas BEFORE UPDATE OF id, "Alterado" ON gatilhos FOR EACH ROW EXECUTE FUNCTION marca();
CREATE TRIGGER depois AFTER DELETE ON gatilhos EXECUTE FUNCTION marca();
CREATE TRIGGER desligado BEFORE UPDATE ON gatilhos FOR EACH ROW EXECUTE FUNCTION marca();
ALTER TABLE gatilhos DISABLE TRIGGER desligado;
CREATE TRIGGER mudou BEFORE UPDATE ON gatilhos FOR EACH ROW
    WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION marca();
CREATE TRIGGER talvez BEFORE UPDATE ON gatilhos FOR EACH ROW WHEN (NEW.id > 0) EXECUTE FUNCTION marca();

CREATE TABLE medida (id integer NOT NULL, dia date NOT NULL, PRIMARY KEY (id, dia)) PARTITION BY RANGE (dia);
CREATE TABLE medida_2025 PARTITION OF medida FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY HASH (id);
CREATE TABLE medida_2025_0 PARTITION OF medida_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE medida_2025_1 PARTITION OF medida_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TRIGGER marca BEFORE UPDATE ON medida FOR EACH ROW EXECUTE FUNCTION marca();
CREATE TRIGGER parte BEFORE UPDATE ON medida FOR EACH ROW EXECUTE FUNCTION marca();
ALTER TABLE medida_2025_1 DISABLE TRIGGER parte;
INSERT INTO medida SELECT n, '2025-06-01' FROM generate_series(1, 500) AS n;
ALTER TABLE medida ADD COLUMN nota integer DEFAULT 7, ADD COLUMN vazia integer;
ANALYZE medida_2025_0, medida_2025_1;

CREATE FOREIGN DATA WRAPPER nenhum;
CREATE SERVER longe FOREIGN DATA WRAPPER nenhum;
CREATE FOREIGN TABLE externa (id integer NOT NULL, nome text) SERVER longe;
CREATE TABLE mista (id integer, dia date) PARTITION BY RANGE (dia);
CREATE FOREIGN TABLE mista_antiga PARTITION OF mista FOR VALUES FROM (MINVALUE) TO ('2020-01-01') SERVER longe;

CREATE TABLE pai (id integer PRIMARY KEY);
CREATE TABLE filho (nome text) INHERITS (pai);
CREATE TABLE "neto.1" () INHERITS (filho);

CREATE VIEW vista AS SELECT id, cor FROM tipos;
CREATE MATERIALIZED VIEW resumo AS SELECT 1 AS id, 'a' AS nome;
CREATE UNIQUE INDEX ON resumo (id);
CREATE TEMPORARY TABLE passageira (id integer);
"""


@pytest.fixture(scope="module")
def dsn(postgres: Postgres) -> str:
    postgres.create_database("catalogo")
    with psycopg.connect(postgres.dsn("catalogo"), autocommit=True) as connection:
        connection.execute(SCHEMA)
    return postgres.dsn("catalogo")


@pytest.fixture(scope="module")
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        yield connection


@pytest.fixture(scope="module")
def public(connection: psycopg.Connection) -> dict[str, Relation]:
    wanted = [("public", name) for name in ("vista", "resumo", "externa")]
    return {relation.name: relation for relation in read(connection, wanted, "public").values()}


def column_of(relation: Relation, name: str) -> SourceColumn:
    return next(column for column in relation.columns if column.name == name)


def element_of(relation: Relation, name: str) -> SourceType:
    element = column_of(relation, name).type.element
    assert element is not None
    return element


def test_a_schema_is_its_tables_without_partitions_temporary_tables_and_views(public):
    expected = {*ODD, "tipos", "chaves", "gatilhos", "medida", "mista", "pai", "filho", "neto.1"}
    assert set(public) == expected | {"vista", "resumo", "externa"}
    assert {public[name].kind for name in ("tipos", "medida", "vista", "resumo", "externa")} == set("rpvmf")


def test_wanted_tables_alone_and_unknown_names(connection):
    wanted = [("public", "pedido"), ("FilialSul", "pedido"), ("public", "não há"), ("public", LONG + "y")]
    found = read(connection, wanted)
    assert set(found) == {("public", "pedido"), ("FilialSul", "pedido")}
    assert len({relation.oid for relation in found.values()}) == 2
    assert read(connection, None) == {}
    assert read(connection, [], "não há") == {}
    assert read(connection, [("public", "medida_2025_0")])["public", "medida_2025_0"].is_partition


def test_names_come_as_they_are(public):
    for name in ODD:
        assert [column.name for column in public[name].columns] == [f"id {name[:3]}", name]
    assert public["Pedido"].oid != public["pedido"].oid


def test_columns_with_numbers_not_null_defaults_and_what_generates_them(public):
    tipos = public["tipos"]
    numbers = {column.name: column.number for column in tipos.columns}
    assert "removida" not in numbers
    assert numbers["quando"] == 14
    assert numbers["dobro"] == 16
    assert column_of(tipos, "id").identity == "a"
    assert column_of(tipos, "dobro").generated == "s"
    assert column_of(tipos, "dobro").default is None
    assert column_of(tipos, "cor").default == "'azul'::cor"
    assert column_of(tipos, "serie").default == "nextval('tipos_serie_seq'::regclass)"
    assert {column.name for column in tipos.columns if column.not_null} == {"id", "cor", "serie"}


@pytest.mark.postgres(18)
def test_virtual_columns(connection):
    connection.execute(b"CREATE TABLE virtual (a integer, b integer GENERATED ALWAYS AS (a + 1) VIRTUAL)")
    relation = read(connection, [("public", "virtual")])["public", "virtual"]
    assert column_of(relation, "b").generated == "v"
    connection.execute(b"DROP TABLE virtual")


def test_a_domains_not_null_does_not_keep_null_out_of_a_column(connection, public):
    assert not column_of(public["tipos"], "codigo").not_null
    connection.execute(b"CREATE TABLE com_dominio (a codigo)")
    connection.execute(b"INSERT INTO com_dominio SELECT (SELECT a FROM com_dominio WHERE false)")
    assert connection.execute(b"SELECT count(*) FROM com_dominio WHERE a IS NULL").fetchone() == (1,)
    connection.execute(b"DROP TABLE com_dominio")


@pytest.mark.postgres(18)
def test_not_null_that_old_rows_were_not_checked_for(connection):
    connection.execute(b"CREATE TABLE sem_nulos (a integer, b integer)")
    connection.execute(b"INSERT INTO sem_nulos VALUES (NULL)")
    connection.execute(
        b"ALTER TABLE sem_nulos ADD CONSTRAINT sem NOT NULL a NOT VALID, ADD NOT NULL b NOT VALID"
    )
    connection.execute(b"UPDATE sem_nulos SET a = 1, b = 1; ALTER TABLE sem_nulos VALIDATE CONSTRAINT sem")
    relation = read(connection, [("public", "sem_nulos")])["public", "sem_nulos"]
    assert [column.not_null for column in relation.columns] == [True, False]
    connection.execute(b"DROP TABLE sem_nulos")


@pytest.mark.parametrize(
    ("name", "declared", "base", "kind", "modifier"),
    [
        ("codigo", "codigo", "int4", "b", -1),
        ("moeda", "moeda", "numeric", "b", (12 << 16 | 2) + 4),
        ("cor", "cor", "cor", "e", -1),
        ("certa", "cor_certa", "cor", "e", -1),
        ("ponto", "ponto", "ponto", "c", -1),
        ("faixa", "int4range", "int4range", "r", -1),
        ("faixas", "int4multirange", "int4multirange", "m", -1),
        ("texto", "character varying(60)", "varchar", "b", 64),
        ("quando", "timestamp(3) without time zone", "timestamp", "b", 3),
        ("vetor", "int2vector", "int2vector", "b", -1),
    ],
)
def test_types(public, name, declared, base, kind, modifier):
    found = column_of(public["tipos"], name).type
    assert (found.declared, found.name, found.kind, found.modifier) == (declared, base, kind, modifier)
    assert found.element is None
    assert found.schema == ("public" if kind in "ec" else "pg_catalog")


def test_arrays_and_enums(public):
    tipos = public["tipos"]
    moedas, taxas = column_of(tipos, "moedas").type, column_of(tipos, "taxas").type
    moeda, cor, taxa = (element_of(tipos, name) for name in ("moedas", "cores", "taxas"))
    assert (moedas.declared, moedas.name, moeda.declared) == ("moedas", "_moeda", "moeda")
    assert (moeda.name, moeda.modifier) == ("numeric", (12 << 16 | 2) + 4)
    assert cor.labels == column_of(tipos, "certa").type.labels == ("verde", "anil", "azul")
    assert (taxas.declared, taxa.modifier) == ("numeric(5,3)[]", (5 << 16 | 3) + 4)


def test_the_default_of_a_domain_counts(public):
    assert column_of(public["tipos"], "moeda").default == "0"


def test_indexes(public):
    assert public["chaves"].indexes == (
        Index("chaves_expressao", (None, "a"), unique=True, primary=False, partial=False),
        Index("chaves_hash", ("c",), unique=False, primary=False, partial=False, method="hash"),
        Index("chaves_metade", ("a",), unique=True, primary=False, partial=True),
        Index("chaves_pkey", ("b", "a"), unique=True, primary=True, partial=False),
    )


def test_an_invalid_index_is_none(connection):
    connection.execute(b"CREATE TABLE repetida (a integer); INSERT INTO repetida VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(b"CREATE UNIQUE INDEX CONCURRENTLY ON repetida (a)")
    assert read(connection, [("public", "repetida")])["public", "repetida"].indexes == ()
    connection.execute(b"DROP TABLE repetida")


def test_triggers(public):
    triggers = {trigger.name: trigger for trigger in public["gatilhos"].triggers}
    assert set(triggers) == {"antes", "colunas", "depois", "mudou", "talvez"}
    antes = triggers["antes"]
    assert antes.before
    assert antes.row
    assert antes.insert
    assert antes.update
    assert (antes.function, antes.body) == ("marca", " BEGIN RETURN NEW; END ")
    assert antes.arguments == ("um", "dois ç", "")
    assert triggers["colunas"].columns == ("id", "Alterado")
    assert not triggers["depois"].before
    assert not triggers["depois"].row
    assert [name for name, trigger in triggers.items() if trigger.conditional] == ["talvez"]


def test_partitions_at_any_depth(connection, public):
    medida = public["medida"]
    parts = connection.execute(
        b"SELECT oid::bigint FROM pg_class WHERE relname LIKE 'medida\\_2025%' AND relkind IN ('r', 'p') ORDER BY oid"
    ).fetchall()
    assert medida.partitions == tuple(oid for (oid,) in parts)
    assert len(parts) == 3
    assert medida.rows == 500
    assert medida.pages >= 2
    assert not medida.foreign_partitions
    assert medida.children == ()
    # A trigger that is disabled on a partition misses the partition's rows.
    assert [trigger.name for trigger in medida.triggers] == ["marca"]
    assert [index.columns for index in medida.indexes] == [("id", "dia")]
    # Only the partitions know which of their rows lack a value.
    assert column_of(medida, "nota").missing_value
    assert not column_of(medida, "vazia").missing_value
    assert public["mista"].foreign_partitions


def test_a_table_that_inherits_is_no_partition(public):
    assert public["pai"].children == ("public.filho", 'public."neto.1"')
    assert public["pai"].partitions == ()
    assert public["filho"].children == ('public."neto.1"',)
    assert public["neto.1"].children == ()


def test_rows_that_nobody_counted(connection, public):
    assert public["tipos"].rows is None
    assert public["mista"].rows is None
    connection.execute(b"CREATE TABLE contada AS SELECT 1 AS a")
    connection.execute(b"ANALYZE contada")
    assert read(connection, [("public", "contada")])["public", "contada"].rows == 1
    connection.execute(b"DROP TABLE contada")


def test_a_role_without_rights_gets_the_whole_catalog(postgres, connection, dsn, public):
    postgres.create_role("leitor_catalogo", postgres.password)
    connection.execute(b"ALTER TABLE chaves ENABLE ROW LEVEL SECURITY")
    connection.execute(b"GRANT SELECT ON chaves TO leitor_catalogo")
    connection.execute(b"GRANT SELECT (id) ON gatilhos TO leitor_catalogo")
    connection.execute(b'GRANT SELECT ON ALL TABLES IN SCHEMA "FilialSul" TO leitor_catalogo')
    with psycopg.connect(dsn, user="leitor_catalogo") as limited:
        found = read(limited, [("FilialSul", "pedido")], "public")
        assert found["public", "tipos"].columns == public["tipos"].columns
        assert not found["public", "tipos"].readable
        # SELECT on one column is not enough: the mirror locks tables and reads xmin.
        assert not found["public", "gatilhos"].readable
        assert found["public", "gatilhos"].triggers == public["gatilhos"].triggers
        assert found["public", "chaves"].readable
        assert found["public", "chaves"].row_security
        assert found["FilialSul", "pedido"].readable
        assert not found["FilialSul", "pedido"].reachable
        assert found["public", "tipos"].reachable
        assert not server(limited).sees_sessions
        assert key_ranges(limited, [(found["public", "tipos"], "id"), (found["public", "chaves"], "a")]) == {}
    assert not read(connection, [("public", "chaves")])["public", "chaves"].row_security


def test_tables_that_a_subscription_feeds(connection, dsn):
    connection.execute(
        b"CREATE SUBSCRIPTION assinatura CONNECTION 'host=nenhum' PUBLICATION p"
        b" WITH (connect = false, enabled = false, slot_name = NONE)"
    )
    try:
        # Refreshing the subscription would write this row, but that needs a publisher.
        connection.execute(b"SET allow_system_table_mods = on")
        connection.execute(
            b"INSERT INTO pg_subscription_rel SELECT s.oid, c.oid, 'r', NULL FROM pg_subscription s, pg_class c"
            b" WHERE s.subname = 'assinatura' AND c.relname IN ('chaves', 'medida_2025_0')"
        )
        fed = {name for (_, name), relation in read(connection, None, "public").items() if relation.fed}
        assert fed == {"chaves", "medida"}
    finally:
        connection.execute(b"DROP SUBSCRIPTION assinatura")
        connection.execute(b"RESET allow_system_table_mods")


def test_any_connection_will_do(dsn):
    with psycopg.connect(dsn, row_factory=dict_row) as other:
        other.execute("SET search_path TO pg_catalog")
        found = read(other, [("public", "tipos")])["public", "tipos"]
        assert column_of(found, "certa").type.declared == "public.cor_certa"
        assert other.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def test_a_table_that_is_being_altered_is_not_waited_for(connection, dsn):
    with psycopg.connect(dsn) as other:
        other.execute("LOCK TABLE tipos, medida IN ACCESS EXCLUSIVE MODE")
        connection.execute(b"SET lock_timeout = '1s'")
        assert column_of(read(connection, None, "public")["public", "tipos"], "serie").default is not None
        connection.execute(b"RESET lock_timeout")


def test_key_ranges_in_one_statement(connection, monkeypatch):
    connection.execute(
        b'CREATE TABLE "Chave %" ("id %" smallint PRIMARY KEY); CREATE TABLE outra (id bigint PRIMARY KEY)'
    )
    connection.execute(
        b'INSERT INTO "Chave %" VALUES (-3), (12); INSERT INTO pai VALUES (5); INSERT INTO filho VALUES (9)'
    )
    relations = read(connection, [("public", name) for name in ("Chave %", "outra", "pai", "medida")])
    by_name = {name: relation for (_, name), relation in relations.items()}
    statements: list[str] = []
    execute = catalog._execute

    def recorded(session: psycopg.Connection, statement: str, *parameters: Any) -> Any:
        statements.append(statement)
        return execute(session, statement, *parameters)

    monkeypatch.setattr(catalog, "_execute", recorded)
    keys = [("Chave %", "id %"), ("outra", "id"), ("pai", "id"), ("medida", "id")]
    found = key_ranges(connection, [(by_name[name], key) for name, key in keys])
    assert found == {
        ("public", "Chave %"): (-3, 12, 2),
        # Only the table's own rows: its index has no others.
        ("public", "pai"): (5, 5, 1),
        ("public", "medida"): (1, 500, 500),
    }
    assert len(statements) == 1
    plan = connection.execute(f"EXPLAIN {statements[0]}".encode()).fetchall()
    assert sum("Index" in line for (line,) in plan) >= 6
    connection.execute(b'DROP TABLE "Chave %", outra; DELETE FROM ONLY pai; DELETE FROM filho')


def test_names_for_suggestions(connection):
    found = relation_names(connection)
    assert ("FilialSul", "pedido", "r") in found
    assert ("public", "vista", "v") in found
    assert not [name for _, name, _ in found if name in ("medida_2025", "passageira", "pg_class")]


def test_sixty_tables_take_one_statement_and_well_under_a_second(connection):
    columns = ", ".join(
        f"c{n} {kind}" for n, kind in enumerate(["integer", "text", "numeric(10, 2)", "cor[]"] * 4)
    )
    connection.execute(b"CREATE SCHEMA muitas")
    connection.execute("".join(f"CREATE TABLE muitas.t{n} ({columns});" for n in range(60)).encode())
    begin = time.perf_counter()
    found = read(connection, None, "muitas")
    # It takes 0.03 s on a quiet machine. The limit is for a busy one.
    assert time.perf_counter() - begin < 0.5
    assert len(found) == 60
    connection.execute(b"DROP SCHEMA muitas CASCADE")
