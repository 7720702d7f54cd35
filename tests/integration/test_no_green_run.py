"""No run succeeds while the two sides differ: changes from outside of the mirror are detected, and repaired or reported."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace

import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.models import SettingDef
from psycopg.conninfo import conninfo_to_dict

from include.mirror import names
from include.mirror.declaration import Schema, Table
from include.mirror.errors import RefusedError, SourceError, WarehouseError
from include.mirror.plan import Work
from include.mirror.source.session import Source
from include.mirror.warehouse.client import PINNED
from include.mirror.warehouse.parts import Part, lost
from local.servers.postgres import Postgres
from tests.conftest import new_source
from tests.lab import Lab


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """A lab in which fifty sales have been read."""
    lab.execute("INSERT INTO venda (valor_total) SELECT n FROM generate_series(1, 50) AS n")
    lab.run()
    return lab


def in_warehouse(lab: Lab, statement: str) -> None:
    with closing(lab.clickhouse.client()) as client:
        client.command(statement, settings={"mutations_sync": 2})


# Changes of the warehouse that the ledger doesn't know of.


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE TABLE vendas_raw.venda SYNC",
        "DROP TABLE vendas_raw.venda SYNC",
        "ALTER TABLE vendas_raw.venda DROP PARTITION ID '0'",
        "ALTER TABLE vendas_raw.venda DELETE WHERE venda_id = 7",
        "DELETE FROM vendas_raw.venda WHERE venda_id = 7",
        "ALTER TABLE vendas_raw.venda UPDATE valor_total = 0 WHERE venda_id = 7",
    ],
)
def test_rows_that_are_gone_or_changed_in_the_warehouse_are_read_again(lab: Lab, statement: str) -> None:
    in_warehouse(lab, statement)
    with lab.connect() as connection:
        lab.sell(connection)
    assert lab.run()["venda"] == 51
    lab.assert_equal()
    assert lab.run()["venda"] == 0
    with lab.connect() as connection:
        lab.sell(connection)
    assert lab.run()["venda"] == 1


@pytest.mark.parametrize("step", ["noted", "staged"])
@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE vendas_raw.venda DROP PARTITION ID '0'",
        "DELETE FROM vendas_raw.venda WHERE venda_id = 7",
    ],
)
def test_the_same_while_a_run_is_under_way(lab: Lab, statement: str, step: str) -> None:
    def observe(reached: str, work: Work) -> None:
        if reached == step and work.tabela == "venda":
            in_warehouse(lab, statement)

    with lab.connect() as connection:
        lab.sell(connection)
    lab.run(engine=lab.engine(observe=observe))
    assert lab.run()["venda"] == 51
    lab.assert_equal()
    assert lab.run()["venda"] == 0


def test_merges_and_other_runs_are_not_taken_for_losses(lab: Lab) -> None:
    for _ in range(3):
        with lab.connect() as connection:
            lab.sell(connection)
        lab.run()
    in_warehouse(lab, "OPTIMIZE TABLE vendas_raw.venda FINAL")
    assert lab.run()["venda"] == 0
    with lab.connect() as connection:
        lab.sell(connection)
    assert lab.run()["venda"] == 1


def test_parts_that_hold_what_was_noted() -> None:
    noted = [Part("0", 1, 1, 0), Part("0", 3, 5, 0), Part("7", 2, 2, 9)]
    assert lost(noted, [Part("0", 1, 8, 0), Part("7", 2, 2, 9)]) is None
    assert lost(noted, [Part("0", 1, 4, 0), Part("0", 6, 8, 0), Part("7", 2, 2, 9)]) is not None
    assert lost(noted, [Part("0", 1, 8, 0)]) == (
        "rows of partition 7 are gone that were in the warehouse's table"
    )
    assert lost(noted, [Part("0", 1, 8, 11), Part("7", 2, 2, 9)]) == (
        "somebody has changed or deleted rows in partition 0 of the warehouse's table"
    )
    assert lost([], []) is None


@pytest.mark.parametrize(
    ("statement", "what"),
    [("TRUNCATE TABLE vendas_raw.cargas SYNC", "empty"), ("DROP TABLE vendas_raw.cargas SYNC", "gone")],
)
def test_a_ledger_that_is_empty_while_tables_hold_rows_is_refused(
    lab: Lab, statement: str, what: str
) -> None:
    in_warehouse(lab, statement)
    with pytest.raises(WarehouseError) as refused:
        lab.run()
    assert (
        f"the ledger vendas_raw.cargas is {what}, while pais, cidade, cliente, produto, venda hold rows"
        in str(refused.value)
    )
    for table in ("pais", "cidade", "cliente", "produto", "venda"):
        assert f"DROP TABLE `vendas_raw`.`{table}` SYNC" in str(refused.value)
        in_warehouse(lab, f"DROP TABLE `vendas_raw`.`{table}` SYNC")
    lab.run()
    lab.assert_equal()


# A warehouse belongs to its source.


def test_another_source_on_the_same_warehouse_is_refused_before_anything_is_loaded(
    lab: Lab, postgres: Postgres
) -> None:
    other = replace(lab, dsn=new_source(postgres), reached=None)
    other.execute("INSERT INTO venda (valor_total) VALUES (99)")
    with pytest.raises(SourceError, match="belongs to another source: it holds database vendas_") as refused:
        other.run()
    assert '{"aceitar_fonte": true}' in str(refused.value)
    lab.assert_equal()
    other.run(accept=True)
    assert other.query("SELECT valor_total FROM vendas_dw.venda WHERE venda_id = 1") == [(99,)]
    with pytest.raises(SourceError, match="belongs to another source"):
        lab.run()


def test_two_mirrors_share_a_server(lab: Lab, postgres: Postgres) -> None:
    other = replace(lab, dsn=new_source(postgres), reached=None)
    other.declaration = replace(lab.declaration, name="filial", storage="filial_raw", views="filial_dw")
    other.execute("INSERT INTO venda (valor_total) VALUES (99)")
    try:
        other.run()
        other.assert_equal()
        lab.assert_equal()
    finally:
        for database in ("filial_dw", "filial_raw"):
            in_warehouse(lab, f"DROP DATABASE IF EXISTS {database} SYNC")


# Sessions.


def test_a_session_that_lost_its_settings_is_refused_by_name(lab: Lab) -> None:
    def forget(step: str, _work: object) -> None:
        if step == "noted":
            connections[0].execute("DISCARD ALL")

    connections: list[psycopg.Connection] = []

    class Remembering(Source):
        @contextmanager
        def connect(self) -> Iterator[psycopg.Connection]:
            with super().connect() as connection:
                connections.insert(0, connection)
                yield connection

    source = Remembering(lab.dsn, lab.zone, name="postgres_vendas")
    with pytest.raises(
        SourceError, match=r"\(connection postgres_vendas\) was moved to another one between two transactions"
    ):
        lab.run(engine=lab.engine(source=source, observe=forget))
    lab.run()
    lab.assert_equal()


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param("transaction_timeout = '200ms'", marks=pytest.mark.postgres(17)),
        "idle_session_timeout = '100ms'",
        "statement_timeout = '1ms'",
    ],
)
def test_limits_of_the_server_do_not_end_the_mirrors_sessions(lab: Lab, setting: str) -> None:
    import time

    lab.execute("INSERT INTO venda (valor_total) VALUES (99)")
    database = conninfo_to_dict(lab.dsn)["dbname"]
    # Asked before, because the test's sessions get only a millisecond for a statement.
    until = lab.now()
    lab.execute(f"ALTER DATABASE {database} SET {setting}")
    try:
        lab.run(
            fim=until,
            engine=lab.engine(observe=lambda step, _work: time.sleep(0.4) if step == "staged" else None),
        )
    finally:
        with psycopg.connect(lab.dsn, options="-c statement_timeout=0", autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {database} RESET {setting.split()[0]}".encode())
    lab.assert_equal()


# A table with an error stops no other table.


def test_a_table_that_is_gone_does_not_stop_the_one_that_was_asked_for(lab: Lab) -> None:
    lab.execute("DROP TABLE item_venda")
    lab.execute("INSERT INTO pais (pais) VALUES ('Chile')")
    end = lab.now().isoformat()
    conf = {"inicio": "2000-01-01T00:00:00Z", "fim": end, "tabelas": ["pais"]}
    assert lab.run(conf=conf) == {"pais": 3}
    with pytest.raises(RefusedError, match=r"item_venda: source table public\.item_venda does not exist"):
        lab.run()


def test_a_value_that_can_not_be_carried_stops_one_table_in_the_middle_of_a_pass(lab: Lab) -> None:
    lab.execute("UPDATE cliente SET data_nasc = '0044-03-15 BC' WHERE cliente_id = 1")
    lab.execute("INSERT INTO venda (valor_total) VALUES (7)")
    with pytest.raises(RefusedError) as refused:
        lab.run()
    assert (
        "cliente: public.cliente.data_nasc is 0044-03-15 BC where cliente_id = 1: Nullable(Date32) can't hold that"
        in str(refused.value)
    )
    assert lab.query("SELECT count() FROM vendas_dw.venda") == [(51,)]
    lab.execute("UPDATE cliente SET data_nasc = '1944-03-15' WHERE cliente_id = 1")
    lab.run()
    lab.assert_equal()
    assert lab.query("SELECT tabela FROM vendas_dw.cargas WHERE kind = 'refused'") == [("cliente",)]


def test_what_is_declared_wrongly_is_set_aside_with_what_would_be_right(lab: Lab) -> None:
    right = lab.declaration
    lab.declaration = replace(
        right,
        tables=[
            *(one for one in right.declared if one.name not in ("pais", "produto")),
            Table("pais", way="never"),
            Table("produto", columns={"nome": "UInt32"}),
            Table("pedidos"),
        ],
    )
    lab.execute("INSERT INTO venda (valor_total) VALUES (7)")
    with pytest.raises(RefusedError) as refused:
        lab.run()
    text = str(refused.value)
    assert text.startswith("3 of the tables were set aside, all others were moved.")
    assert "pais: table pais: way is 'never'; it must be one of window, scan, copy" in text
    assert "produto: public.produto.nome: character varying(100) can't travel into UInt32" in text
    assert "pedidos: source table public.pedidos does not exist" in text
    lab.declaration = right
    lab.run()
    lab.assert_equal()


def test_a_table_dropped_while_the_run_is_under_way(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total) VALUES (7)")
    end = lab.now()
    planned = lab.plan((lab.reached, end))
    lab.execute("DROP TABLE item_venda")
    with pytest.raises(RefusedError, match=r"item_venda: source table public\.item_venda does not exist"):
        lab.move(planned)
    assert lab.query("SELECT count() FROM vendas_dw.venda") == [(51,)]


def test_a_declaration_that_changes_while_the_run_is_under_way(lab: Lab) -> None:
    lab.execute("CREATE TABLE par (x int NOT NULL UNIQUE, y int NOT NULL UNIQUE, z int)")
    lab.execute("INSERT INTO par VALUES (1, 2, 3)")
    before = replace(lab.declaration, tables=[*lab.declaration.declared, Table("par", key="x")])
    lab.declaration = before
    lab.run()
    lab.execute(
        "INSERT INTO venda (valor_total) VALUES (7); UPDATE cliente SET cpf = '7'; UPDATE par SET z = 4"
    )
    planned = lab.plan((lab.reached, lab.now()))
    changed = {
        "pais": Table("pais", way="scan"),
        "cidade": Table("cidade", change_column="created_at"),
        "cliente": Table("cliente", change_column="updated_at", leave_out=["cpf"]),
        "produto": Table("produto", change_column="updated_at", columns={"nome": "LowCardinality(String)"}),
        "par": Table("par", key="y"),
        "venda": replace(before.declared[before.names.index("venda")], to="vendas"),
    }
    lab.declaration = replace(before, tables=[changed.get(one.name, one) for one in before.declared])
    with pytest.raises(RefusedError) as refused:
        lab.move(planned)
    for sentence in (
        "pais: public.pais was planned as window, and is read by scan now",
        "cidade: public.cidade has changed since the run was planned: its windows are by created_at now",
        "cliente: public.cliente: the declaration leaves out cpf since the run was planned",
        "produto: warehouse column vendas_raw.produto.nome is String, expected LowCardinality(String); change the",
        "par: warehouse table vendas_raw.par is ordered by x, expected y: the key of public.par, or the declared one",
        "venda: venda was planned, and the declaration of vendas has no such table any more",
    ):
        assert sentence in str(refused.value)
    assert "item_venda" not in str(refused.value)
    # The run goes by the declaration of now.
    with pytest.raises(RefusedError) as refused:
        lab.run()
    assert str(refused.value).startswith("3 of the tables were set aside, all others were moved.")
    assert "venda: the declaration calls public.venda vendas in the warehouse now" in str(refused.value)
    assert "to='venda'; or, once nobody reads the old one, run DROP VIEW `vendas_dw`.`venda` and" in str(
        refused.value
    )
    for statement in (
        "DROP VIEW vendas_dw.venda",
        "DROP TABLE vendas_raw.venda SYNC",
        "DROP TABLE vendas_raw.produto SYNC",
        "DROP TABLE vendas_raw.par SYNC",
    ):
        in_warehouse(lab, statement)
    lab.run()
    lab.assert_equal()


def test_a_schema_goes_on_when_a_table_without_key_appears(lab: Lab) -> None:
    lab.mirror_only(Schema("public"))
    lab.run()
    lab.execute("CREATE TABLE sem_chave (a int)")
    lab.execute("CREATE TABLE com_chave (a int PRIMARY KEY); INSERT INTO com_chave VALUES (1)")
    with pytest.raises(RefusedError, match=r"sem_chave: public\.sem_chave has no key"):
        lab.run()
    assert lab.query("SELECT a FROM vendas_dw.com_chave") == [(1,)]


# Columns.


def test_a_column_dropped_from_the_declaration_while_its_table_is_empty(lab: Lab) -> None:
    assert lab.query("SELECT count() FROM vendas_raw.item_venda") == [(0,)]
    lab.declaration = replace(
        lab.declaration,
        tables=[
            replace(one, leave_out=("quantidade",)) if one.name == "item_venda" else one
            for one in lab.declaration.declared
        ],
    )
    lab.execute("INSERT INTO item_venda (venda_id, valor_total) VALUES (1, 7)")
    lab.run()
    lab.assert_equal()


HOSTILE = {
    **{name: "break" for name, value in PINNED.items() if value == "throw"},
    **{name: 1 - value for name, value in PINNED.items() if value in (0, 1)},
    "async_insert": 1,
    "input_format_null_as_default": 1,
    "count_distinct_implementation": "uniq",
    "regexp_max_matches_per_row": 1,
    "group_by_overflow_mode": "any",
    "additional_result_filter": "0",
    "additional_table_filters": "{'vendas_raw.venda': '0', 'vendas_raw.cargas': '0'}",
    "session_timezone": "America/Sao_Paulo",
    "bool_true_representation": "sim",
    "bool_false_representation": "nao",
    "date_time_output_format": "unix_timestamp",
    "date_time_input_format": "best_effort_us",
    "cast_string_to_date_time_mode": "best_effort_us",
    "insert_null_as_default": 0,
    "input_format_skip_unknown_fields": 0,
    "union_default_mode": "DISTINCT",
    "mutations_sync": 0,
    "insert_deduplicate": 0,
    "input_format_arrow_import_nested": 1,
    "optimize_on_insert": 0,
    "max_insert_block_size": 1,
}


CACHE = {
    "use_query_cache": 1,
    "query_cache_system_table_handling": "save",
    "query_cache_nondeterministic_function_handling": "save",
}


def profiled(lab: Lab, settings: Mapping[str, object]) -> Callable[[], object]:
    """Return a function that connects as a user whose profile has these settings."""

    def connect() -> object:
        session = f"profile-{next(_sessions)}"
        with closing(lab.clickhouse.client(session_id=session)) as client:
            values = (f"{name} = {names.ch_text(str(value))}" for name, value in settings.items())
            client.command(f"SET {', '.join(values)}")
        client = lab.clickhouse.client(session_id=session)
        # Here, settings of the session stand for the profile. A client reads its settings outside of the session.
        found = client.query("SELECT name, value, readonly FROM system.settings").result_rows
        client.server_settings = {row[0]: SettingDef(*row) for row in found}
        return client

    return connect


_sessions = itertools.count()


def test_results_do_not_depend_on_the_users_profile(lab: Lab) -> None:
    assert HOSTILE.keys() >= PINNED.keys()
    in_warehouse(lab, "DROP DATABASE vendas_dw SYNC")
    in_warehouse(lab, "DROP DATABASE vendas_raw SYNC")
    # Left out: the embedded service allows no filters, and a query cache refuses limits.
    apart = ("additional_result_filter", "additional_table_filters", "use_query_cache")
    hostile = {name: value for name, value in HOSTILE.items() if name not in apart}

    def sales(settings: Mapping[str, object]) -> int:
        warehouse = replace(lab.engine().warehouse, connect=profiled(lab, settings))
        return lab.run(engine=lab.engine(warehouse=warehouse))["venda"]

    assert sales(hostile) == 50
    lab.execute("INSERT INTO venda (valor_total) VALUES (7)")
    assert sales(hostile) == 1
    assert sales(CACHE) == 0
    lab.mirror_only(
        *(Table(one.name, columns=one.columns, way="copy", to=one.to) for one in lab.declaration.declared)
    )
    lab.execute("DELETE FROM venda WHERE venda_id < 20")
    lab.execute("INSERT INTO venda (valor_total) VALUES (8)")
    assert sales(hostile) == 20
    assert sales(CACHE) == 0
    lab.assert_equal()


def test_a_setting_that_can_not_be_changed_is_named(lab: Lab) -> None:
    def constrained() -> Client:
        client = lab.clickhouse.client()
        client.server_settings["join_use_nulls"] = SettingDef("join_use_nulls", "1", 1)
        return client

    def cut() -> Client:
        client = lab.clickhouse.client()
        client.server_settings["limit"] = SettingDef("limit", "100", 0)
        return client

    engine = lab.engine()
    for connect, message in (
        (constrained, "user has join_use_nulls = '1' and may not change it, and the mirror needs '0'"),
        (cut, "user has a limit for all queries, which cuts every answer short"),
    ):
        with pytest.raises(WarehouseError, match=message):
            lab.run(engine=replace(engine, warehouse=replace(engine.warehouse, connect=connect)))


def test_a_column_that_comes_back_is_read_for_all_rows(lab: Lab) -> None:
    whole = lab.declaration
    lab.declaration = replace(
        whole,
        tables=[
            replace(one, leave_out=("entregue",), columns={}) if one.name == "venda" else one
            for one in whole.declared
        ],
    )
    lab.execute("UPDATE venda SET entregue = 'S'")
    lab.run()
    lab.assert_equal()
    lab.declaration = whole
    assert lab.run()["venda"] == 50
    lab.assert_equal()
    assert lab.run()["venda"] == 0


def test_a_table_that_comes_back_goes_on_where_it_was(lab: Lab) -> None:
    whole = lab.declaration
    lab.declaration = replace(whole, tables=[one for one in whole.declared if one.name != "venda"])
    lab.execute("INSERT INTO venda (valor_total) VALUES (7)")
    lab.run()
    lab.declaration = whole
    assert lab.run()["venda"] == 1
    lab.assert_equal()


# Partitions.

MEASURES = """
CREATE TABLE medida (dia date, id int, valor int, {change} PRIMARY KEY (dia, id)) PARTITION BY RANGE (dia);
CREATE TABLE medida_1 PARTITION OF medida FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE medida_2 (LIKE medida INCLUDING ALL);
INSERT INTO medida (dia, id, valor) VALUES ('2026-01-05', 1, 1);
INSERT INTO medida_2 (dia, id, valor) VALUES ('2026-02-05', 1, 2), ('2026-02-05', 2, 3);
"""


@pytest.mark.parametrize("change", ["", "updated_at timestamptz DEFAULT now(),"])
def test_a_partition_that_is_attached_with_rows_is_read(lab: Lab, change: str) -> None:
    for statement in MEASURES.format(change=change).strip().split("\n"):
        lab.execute(statement)
    lab.mirror_only(Table("medida", change_column="updated_at" if change else None))
    assert lab.run() == {"medida": 1}
    assert lab.run() == {"medida": 0}
    lab.execute(
        "ALTER TABLE medida ATTACH PARTITION medida_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')"
    )
    assert lab.run() == {"medida": 3}
    lab.assert_equal()
    assert lab.run() == {"medida": 0}


def test_a_new_partition_is_no_reason_to_read_everything_again(lab: Lab) -> None:
    for statement in MEASURES.format(change="").strip().split("\n"):
        lab.execute(statement)
    lab.mirror_only("medida")
    lab.run()
    lab.execute("CREATE TABLE medida_3 PARTITION OF medida FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')")
    lab.execute("INSERT INTO medida (dia, id, valor) VALUES ('2026-03-05', 1, 1)")
    assert lab.run() == {"medida": 1}
    lab.assert_equal()


@pytest.mark.parametrize("way", [None, "scan"])
def test_a_partition_that_is_detached_is_named_by_every_run_and_noted(
    lab: Lab, caplog: pytest.LogCaptureFixture, way: str | None
) -> None:
    change = "" if way else "updated_at timestamptz DEFAULT now(),"
    for statement in MEASURES.format(change=change).strip().split("\n"):
        lab.execute(statement)
    attach = "ALTER TABLE medida ATTACH PARTITION medida_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')"
    lab.execute(attach)
    lab.mirror_only(Table("medida", way=way, change_column=None if way else "updated_at"))
    lab.run()
    planned = lab.plan((lab.reached, lab.now()))
    lab.execute("ALTER TABLE medida DETACH PARTITION medida_2; UPDATE medida_2 SET valor = 9")
    with pytest.raises(RefusedError, match=r"a partition of public\.medida was detached or dropped since"):
        lab.move(planned)
    said = "1 of its partitions detached or dropped, whose rows stay in the warehouse"
    for _ in range(2):
        caplog.clear()
        assert lab.run() == {"medida": 0}
        assert f"public.medida: {said}" in caplog.text
        assert lab.query(f"SELECT count() FROM vendas_dw.cargas WHERE reason LIKE '%; {said}'") != [(0,)]
    assert lab.query("SELECT count() FROM vendas_dw.medida") == [(3,)]
    lab.execute(attach)
    caplog.clear()
    assert lab.run() == {"medida": 3}
    assert said not in caplog.text
    lab.assert_equal()


def test_a_table_of_a_schema_that_is_gone_is_named(lab: Lab) -> None:
    lab.mirror_only(Schema("public"))
    lab.run()
    lab.execute("ALTER TABLE item_venda RENAME TO itens")
    with pytest.raises(
        RefusedError, match=r"item_venda: the source has no table for vendas_dw\.item_venda any more"
    ):
        lab.run()
    in_warehouse(lab, "DROP VIEW vendas_dw.item_venda")
    in_warehouse(lab, "DROP TABLE vendas_raw.item_venda SYNC")
    lab.run()
    lab.assert_equal()


def test_a_new_column_is_not_shown_before_old_rows_have_it(lab: Lab) -> None:
    lab.execute("ALTER TABLE venda ADD COLUMN regiao text NOT NULL DEFAULT 'SUL'")
    planned = lab.plan((lab.reached, lab.now()))
    columns = "SELECT count() FROM system.columns WHERE database = 'vendas_dw' AND table = 'venda' AND name = 'regiao'"
    assert lab.query(columns) == [(0,)]
    lab.move(planned)
    assert lab.query(columns) == [(1,)]
    lab.assert_equal()


def test_an_empty_ledger_is_refused_again_after_an_upgrade(lab: Lab, postgres: Postgres) -> None:
    """A version with one more migration than the warehouse has noted: none may be applied, as it would note a row."""
    lab.run()
    in_warehouse(lab, "TRUNCATE TABLE vendas_raw.cargas")
    in_warehouse(
        lab,
        "ALTER TABLE vendas_raw.migracoes DELETE WHERE number = (SELECT max(number) FROM vendas_raw.migracoes)"
        " SETTINGS mutations_sync = 2",
    )
    for tried in (lab, lab, replace(lab, dsn=new_source(postgres), reached=None)):
        with pytest.raises(WarehouseError, match=r"ledger .* is empty"):
            tried.run()
