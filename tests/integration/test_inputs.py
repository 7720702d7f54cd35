"""Inputs that are easily lost, doubled, altered or answered with a driver's error.

All of them are in one database and are moved in one run. A value that can't be held is refused, with table, column, value
and key in the message, and everything else arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from include.mirror.declaration import Table
from include.mirror.errors import RefusedError
from local.servers.clickhouse import ClickHouse
from local.servers.postgres import Postgres
from tests.conftest import empty_warehouse, new_source
from tests.lab import Lab

# The declaration, the statements that create the table, and the message of the refusal.
REFUSED: dict[str, tuple[Table, str, str]] = {
    "decimais": (
        Table("decimais", columns={"valor": "Decimal(10, 2)"}),
        "CREATE TABLE decimais (a int, b text, valor numeric, PRIMARY KEY (a, b));"
        " INSERT INTO decimais SELECT n, 'x', CASE n WHEN 777 THEN 1.005 ELSE 1.05 END FROM generate_series(1, 2000) AS n",
        "public.decimais.valor is 1.005 where a = 777, b = x: Decimal(10, 2) can't hold that",
    ),
    "escala": (
        Table("escala", columns={"valor": "Decimal(12, 2)"}),
        "CREATE TABLE escala (id int PRIMARY KEY, valor numeric(12,4)); INSERT INTO escala VALUES (1, 1.005)",
        "public.escala.valor: ",
    ),
    "chave": (
        Table("chave", columns={"id": "Int64"}),
        "CREATE TABLE chave (id numeric PRIMARY KEY); INSERT INTO chave VALUES (7), (7.4)",
        "public.chave.id: ",
    ),
    "infinito": (
        Table("infinito", columns={"valor": "Nullable(Decimal(10, 2))"}),
        "CREATE TABLE infinito (id uuid PRIMARY KEY, valor numeric);"
        " INSERT INTO infinito VALUES ('00000000-0000-0000-0000-00000000000a', 'Infinity')",
        "public.infinito.valor is Infinity where id = 00000000-0000-0000-0000-00000000000a",
    ),
    "número": (
        Table("número"),
        'CREATE TABLE número (código varchar(9) PRIMARY KEY, "margem_%" numeric(20,2));'
        " INSERT INTO número VALUES ('a%s', 1), ('b', 'NaN')",
        "public.número.margem_% is NaN where código = b: Nullable(Decimal(20, 2)) can't hold that",
    ),
    "natural": (
        Table("natural", columns={"quantidade": "UInt32"}),
        'CREATE TABLE "natural" (id int PRIMARY KEY, quantidade int NOT NULL); INSERT INTO "natural" VALUES (1, 1), (2, -1)',
        "public.natural.quantidade is -1 where id = 2: UInt32 can't hold that",
    ),
    "sem_nulo": (
        Table("sem_nulo", columns={"situação": "LowCardinality(String)"}),
        "CREATE TABLE sem_nulo (id int PRIMARY KEY, situação text); INSERT INTO sem_nulo VALUES (1, ''), (2, NULL)",
        "public.sem_nulo.situação is NULL where id = 2",
    ),
    "nula": (
        Table("nula"),
        "CREATE TABLE nula (id int PRIMARY KEY, lista int[]); INSERT INTO nula VALUES (1, '{}'), (2, NULL)",
        "public.nula.lista is NULL where id = 2: Array(Nullable(Int32)) can't hold that; PostgreSQL's own text can: "
        'columns={"lista": "Nullable(String)"}',
    ),
    "matriz": (
        Table("matriz"),
        "CREATE TABLE matriz (id int PRIMARY KEY, lista text[]); INSERT INTO matriz VALUES (1, '{a}'), (2, '{{a,b},{c,d}}')",
        "public.matriz.lista is {{a,b},{c,d}} where id = 2",
    ),
    "de_zero": (
        Table("de_zero"),
        "CREATE TABLE de_zero (id int PRIMARY KEY, lista int[]); INSERT INTO de_zero VALUES (3, '[0:1]={1,2}')",
        "public.de_zero.lista is [0:1]={1,2} where id = 3",
    ),
    "antes_de_cristo": (
        Table("antes_de_cristo"),
        "CREATE TABLE antes_de_cristo (id int PRIMARY KEY, quando timestamptz);"
        " INSERT INTO antes_de_cristo VALUES (1, '0044-03-15 12:00+00 BC')",
        "public.antes_de_cristo.quando is 0044-03-15 12:00:00+00 BC where id = 1",
    ),
    "dia_sem_fim": (
        Table("dia_sem_fim"),
        "CREATE TABLE dia_sem_fim (dia date, loja int, PRIMARY KEY (loja, dia));"
        " INSERT INTO dia_sem_fim VALUES ('infinity', 3)",
        "public.dia_sem_fim.dia is infinity where loja = 3, dia = infinity: Date32 can't hold that",
    ),
    "quando_sem_fim": (
        Table("quando_sem_fim"),
        "CREATE TABLE quando_sem_fim (quando timestamp PRIMARY KEY, x int);"
        " INSERT INTO quando_sem_fim VALUES ('-infinity', 3)",
        "public.quando_sem_fim.quando is -infinity where quando = -infinity: ",
    ),
    "idos_de_março": (
        Table("idos_de_março"),
        "CREATE TABLE idos_de_março (dia date, quando timestamptz, PRIMARY KEY (dia, quando));"
        " INSERT INTO idos_de_março VALUES ('0044-03-15 BC', '294276-12-31 23:59:59.5+00')",
        "public.idos_de_março.dia is 0044-03-15 BC where dia = 0044-03-15 BC, quando = 294276-12-31 23:59:59.500000+00",
    ),
    "dobrada": (
        Table("dobrada", key="id"),
        "CREATE VIEW dobrada AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (2, 'c')) AS v (id, texto)",
        "public.dobrada: 3 rows have only 2 different keys (id), such as 2",
    ),
    "chave_nula": (
        Table("chave_nula", key=["id", "texto"]),
        "CREATE VIEW chave_nula AS SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS v (id, texto)",
        "public.chave_nula.texto is NULL where id = 2, texto = NULL",
    ),
    "pessoa": (
        Table("pessoa"),
        "CREATE TABLE pessoa (id int PRIMARY KEY, nome text); CREATE TABLE aluno (curso text, PRIMARY KEY (id))"
        " INHERITS (pessoa); INSERT INTO pessoa VALUES (1, 'a'); INSERT INTO aluno VALUES (1, 'b', 'c')",
        "public.pessoa: public.aluno inherit from it, and one key can stand in several of them; declare each as a "
        'table of its own: Table("public.pessoa", only=True), Table("public.aluno")',
    ),
    "foto": (
        Table("foto", columns={"imagem": "Array(UInt8)"}),
        "CREATE TABLE foto (id int PRIMARY KEY, imagem bytea)",
        "public.foto.imagem: ",
    ),
    "negada": (
        Table("negada"),
        'CREATE TABLE negada ("Not" int PRIMARY KEY)',
        "public.negada: ClickHouse can't order a table by a column called Not",
    ),
    "sem_chave": (
        Table("sem_chave"),
        "CREATE TABLE sem_chave (a int)",
        "public.sem_chave has no key",
    ),
}

CARRIED: dict[str, tuple[list[Table], str]] = {
    "a number that is no number as a key": (
        [Table("medida")],
        "CREATE TABLE medida (f float8 PRIMARY KEY, n numeric UNIQUE);"
        " INSERT INTO medida VALUES ('NaN', 'Infinity'), ('-Infinity', 7), ('-0', 7.4), (1e-300, 'NaN'), (0.1, 7.40001)",
    ),
    "a truth value in a key": (
        [Table("resposta")],
        "CREATE TABLE resposta (certa boolean, n int, PRIMARY KEY (certa, n)); INSERT INTO resposta VALUES (true, 5)",
    ),
    "the end of a day as a key": (
        [Table("horário")],
        "CREATE TABLE horário (hora time, fuso timetz, PRIMARY KEY (hora, fuso));"
        " INSERT INTO horário VALUES ('24:00', '24:00-03'), ('00:00', '00:00+00'), ('12:34:56.7', '12:00+15:59')",
    ),
    "a key of a type with operators of its own": (
        [Table("árvore")],
        "CREATE SCHEMA ext; CREATE TYPE ext.caminho;"
        " CREATE FUNCTION ext.caminho_in(cstring) RETURNS ext.caminho LANGUAGE internal IMMUTABLE STRICT AS 'textin';"
        " CREATE FUNCTION ext.caminho_out(ext.caminho) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';"
        " CREATE TYPE ext.caminho (INPUT = ext.caminho_in, OUTPUT = ext.caminho_out, LIKE = text);"
        + "".join(
            f" CREATE FUNCTION ext.{function}(ext.caminho, ext.caminho) RETURNS {kind} LANGUAGE internal IMMUTABLE STRICT"
            f" AS 'bytea{function}';"
            for function, kind in (
                ("lt", "bool"),
                ("le", "bool"),
                ("eq", "bool"),
                ("ge", "bool"),
                ("gt", "bool"),
                ("cmp", "int"),
            )
        )
        + "".join(
            f" CREATE OPERATOR ext.{sign} (LEFTARG = ext.caminho, RIGHTARG = ext.caminho, FUNCTION = ext.{function});"
            for sign, function in (("<", "lt"), ("<=", "le"), ("=", "eq"), (">=", "ge"), (">", "gt"))
        )
        + " CREATE OPERATOR CLASS ext.caminho_ops DEFAULT FOR TYPE ext.caminho USING btree AS OPERATOR 1 ext.<,"
        " OPERATOR 2 ext.<=, OPERATOR 3 ext.=, OPERATOR 4 ext.>=, OPERATOR 5 ext.>, FUNCTION 1"
        " ext.cmp(ext.caminho, ext.caminho);"
        " CREATE TABLE árvore (raiz ext.caminho, n int, PRIMARY KEY (raiz, n));"
        " INSERT INTO árvore VALUES ('a.b', 1), ('a', 1), ('a', 2)",
    ),
    "one id in a parent and in its child": (
        [Table("público", only=True), Table("sócio")],
        "CREATE TABLE público (id int PRIMARY KEY, nome text); CREATE TABLE sócio (desde date, PRIMARY KEY (id))"
        " INHERITS (público); INSERT INTO público VALUES (1, 'a'), (2, 'b');"
        " INSERT INTO sócio VALUES (1, 'c', '2026-01-01')",
    ),
    "ids of 64 bits, far apart": (
        [Table("esparsa")],
        "CREATE TABLE esparsa (id bigint PRIMARY KEY, n int);"
        " INSERT INTO esparsa SELECT 4000000000 * n, n FROM generate_series(1, 6000) AS n",
    ),
    "sums beyond 64 bits": (
        [Table("fortuna")],
        "CREATE TABLE fortuna (id int PRIMARY KEY, valor numeric(18,8));"
        " INSERT INTO fortuna SELECT n, 9999999999.99999999 FROM generate_series(1, 200) AS n",
    ),
    "bytes, and what encodes them": (
        [Table("retrato"), Table("codificado", key="id")],
        "CREATE TABLE retrato (id int PRIMARY KEY, imagem bytea); INSERT INTO retrato VALUES (1, '\\x00ff'), (2, NULL);"
        " CREATE VIEW codificado AS SELECT id, encode(imagem, 'base64') AS imagem FROM retrato",
    ),
    "names that ClickHouse or the mirror use": (
        [Table("cargas"), Table("stage__x"), Table("Pedido"), Table("pedido")],
        "CREATE TABLE cargas (tabela text PRIMARY KEY, version int, is_deleted int, _version int, mirror_version int);"
        " INSERT INTO cargas VALUES ('a', 1, 1, 1, 1), ('b', 2, 0, 2, 2);"
        ' CREATE TABLE stage__x (_part text PRIMARY KEY, "_table" text, "not" int);'
        " INSERT INTO stage__x VALUES ('x', 'y', 3);"
        ' CREATE TABLE "Pedido" (id int PRIMARY KEY, "user" text); CREATE TABLE pedido (id int PRIMARY KEY, "user" int);'
        " INSERT INTO \"Pedido\" VALUES (1, 'a'); INSERT INTO pedido VALUES (2, 3)",
    ),
}


@pytest.fixture(scope="module")
def reasons(postgres: Postgres, clickhouse: ClickHouse) -> tuple[Lab, Mapping[str, str]]:
    """A lab in which all tables have been moved in one run, and the reasons for which tables were set aside."""
    empty_warehouse(clickhouse)
    lab = Lab(new_source(postgres), clickhouse)
    lab.mirror_only(
        *(table for table, _, _ in REFUSED.values()),
        *(table for tables, _ in CARRIED.values() for table in tables),
    )
    for statements in (*(text for _, text, _ in REFUSED.values()), *(text for _, text in CARRIED.values())):
        lab.execute(statements)
    with pytest.raises(RefusedError) as raised:
        lab.run()
    assert str(raised.value).startswith(
        f"{len(REFUSED)} of the tables were set aside, all others were moved. "
    )
    rows = lab.query("SELECT tabela, reason FROM vendas_dw.cargas WHERE kind = 'refused'")
    return lab, dict(rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_carried_is_named_and_nothing_of_it_is_loaded(
    reasons: tuple[Lab, Mapping[str, str]], name: str
) -> None:
    lab, refused = reasons
    assert REFUSED[name][2] in refused[name]
    if lab.query("EXISTS TABLE vendas_raw.{name:Identifier}", name=name) == [(1,)]:
        assert lab.query("SELECT count() FROM vendas_raw.{name:Identifier}", name=name) == [(0,)]


def test_all_other_tables_arrive(reasons: tuple[Lab, Mapping[str, str]]) -> None:
    lab, refused = reasons
    assert refused.keys() == REFUSED.keys()
    carried = [table for tables, _ in CARRIED.values() for table in tables]
    lab = replace(lab, declaration=replace(lab.declaration, tables=carried))
    lab.assert_equal()
    assert lab.query("SELECT count() FROM vendas_dw.esparsa") == [(6000,)]


def test_ids_that_are_far_apart_share_partitions(reasons: tuple[Lab, Mapping[str, str]]) -> None:
    lab, _ = reasons
    parts = lab.query(
        "SELECT uniqExact(partition) FROM system.parts WHERE active AND database = 'vendas_raw' AND table = 'esparsa'"
    )
    assert parts == [(1,)]


def test_the_ledgers_sum_is_exact(reasons: tuple[Lab, Mapping[str, str]]) -> None:
    lab, _ = reasons
    expected = 200 * Decimal("9999999999.99999999")
    assert lab.query("SELECT money['valor'] FROM vendas_dw.cargas WHERE tabela = 'fortuna'") == [(expected,)]


def test_a_view_that_was_made_anew_with_other_values_is_read_again(
    reasons: tuple[Lab, Mapping[str, str]],
) -> None:
    lab, _ = reasons
    lab = replace(
        lab, declaration=replace(lab.declaration, tables=CARRIED["bytes, and what encodes them"][0])
    )
    lab.execute("DROP VIEW codificado; CREATE VIEW codificado AS SELECT * FROM retrato WHERE id = 1")
    lab.run()
    lab.assert_equal()
