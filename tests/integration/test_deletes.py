"""Deleted rows are found by comparing all keys in each run, in any order of runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from include.mirror.declaration import Table
from include.mirror.errors import RefusedError
from include.mirror.plan import Keys, Work
from include.mirror.source.look import Look, look
from include.vendas.tables import VENDAS
from tests.lab import Lab

SHAPES = """
CREATE TABLE pedido (pedido_id int, linha smallint, sku text, PRIMARY KEY (pedido_id, linha));
INSERT INTO pedido SELECT n / 3, n % 3, 'sku ' || n FROM generate_series(0, 29) AS n;
CREATE TABLE etiqueta (nome text PRIMARY KEY, peso numeric(9, 3));
INSERT INTO etiqueta SELECT 'rótulo ' || n, n / 7.0 FROM generate_series(1, 20) AS n;
CREATE TABLE entrega (dia date, id uuid DEFAULT gen_random_uuid(), valor int, PRIMARY KEY (dia, id))
    PARTITION BY RANGE (dia);
CREATE TABLE entrega_1 PARTITION OF entrega FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE entrega_2 PARTITION OF entrega FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO entrega (dia, valor) SELECT date '2026-01-01' + n, n FROM generate_series(0, 50) AS n;
CREATE TABLE arquivo (id int PRIMARY KEY, texto text);
INSERT INTO arquivo SELECT n, 'texto' FROM generate_series(1, 10) AS n;
CREATE VIEW resumo AS SELECT pedido_id, count(*) AS linhas FROM pedido GROUP BY pedido_id;
"""
TABLES = (
    Table("venda", change_column="updated_at"),
    "pedido",
    "etiqueta",
    "entrega",
    Table("arquivo", deletes="keep"),
    Table("resumo", key="pedido_id"),
)


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """A lab that mirrors tables of every way with keys of every kind, and compares their keys."""
    lab.options = replace(lab.options, compare_keys=1000)
    with lab.connect() as connection:
        connection.execute(SHAPES)
        for amount in range(1, 31):
            lab.sell(connection, str(amount))
    lab.mirror_only(*TABLES)
    lab.run()
    return lab


def kept(lab: Lab) -> int:
    return int(lab.query("SELECT count() FROM vendas_dw.arquivo")[0][0])


def everything_but_what_is_kept(lab: Lab) -> None:
    """Compare all values of all tables, except those that keep deleted rows."""
    declared = lab.declaration
    lab.declaration = replace(declared, tables=[one for one in declared.declared if one.deletes != "keep"])
    lab.assert_equal()
    lab.declaration = declared


def test_deleted_rows_changed_keys_and_truncated_tables(lab: Lab) -> None:
    with lab.connect() as connection:
        connection.execute("DELETE FROM item_venda")
        connection.execute("DELETE FROM venda WHERE venda_id % 3 = 0")
        connection.execute("UPDATE pedido SET linha = linha + 10 WHERE pedido_id = 4")
        connection.execute("DELETE FROM pedido WHERE pedido_id = 7")
        connection.execute("TRUNCATE etiqueta")
        connection.execute("INSERT INTO etiqueta VALUES ('rótulo 3', 99)")
        connection.execute("ALTER TABLE entrega DETACH PARTITION entrega_2")
        connection.execute("DELETE FROM arquivo")
    lab.run()
    everything_but_what_is_kept(lab)
    assert kept(lab) == 10
    deleted = lab.query(
        "SELECT tabela, rows FROM vendas_dw.cargas WHERE kind = 'keys' AND rows > 0 ORDER BY tabela"
    )
    assert deleted == [("entrega", 20), ("etiqueta", 19), ("pedido", 6), ("venda", 10)]
    with lab.connect() as connection:
        # Rows that come back are mirrored again, in every way.
        connection.execute("INSERT INTO pedido SELECT 7, n, 'again' FROM generate_series(0, 2) AS n")
        connection.execute("INSERT INTO etiqueta SELECT 'rótulo ' || n, n FROM generate_series(5, 9) AS n")
        connection.execute("DELETE FROM etiqueta WHERE nome = 'rótulo 3'")
        connection.execute(
            "ALTER TABLE entrega ATTACH PARTITION entrega_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')"
        )
        connection.execute("INSERT INTO venda (venda_id, valor_total) OVERRIDING SYSTEM VALUE VALUES (3, 7)")
    lab.run()
    everything_but_what_is_kept(lab)


@pytest.fixture
def pedidos(lab: Lab) -> Iterator[Lab]:
    lab.mirror_only("pedido")
    lab.run()
    yield lab
    lab.run()
    lab.assert_equal()


def test_runs_that_end_in_another_order_than_they_read(pedidos: Lab) -> None:
    """A key is deleted, comes back, and is deleted again. Each state is read by one run, and the last run ends first."""
    statements = [
        "DELETE FROM pedido WHERE pedido_id = 1",
        "INSERT INTO pedido SELECT 1, n, 'back' FROM generate_series(0, 2) AS n",
        "DELETE FROM pedido WHERE pedido_id = 1 AND linha > 0",
    ]

    def run_within(left: list[str]) -> None:
        """Make a change, and start a run that stops before publishing until all later runs have ended."""
        pedidos.execute(left[0])
        stopped: list[Work] = []

        def stop(step: str, work: Work) -> None:
            if step == "snapshot" and not stopped and left[1:]:
                stopped.append(work)
                run_within(left[1:])

        end = pedidos.now()
        engine = pedidos.engine(observe=stop)
        pedidos.move(pedidos.plan((end - timedelta(microseconds=1), end), engine=engine), engine)

    run_within(statements)
    rows = pedidos.query("SELECT linha, sku FROM vendas_dw.pedido WHERE pedido_id = 1")
    assert rows == [(0, "back")]
    pedidos.assert_equal()


def test_a_run_that_dies_at_any_step_is_made_good_by_the_next(pedidos: Lab) -> None:
    for number, step in enumerate(("snapshot", "extracted", "staged", "verified", "published", "confirmed")):
        pedidos.execute(f"DELETE FROM pedido WHERE pedido_id = {number}")
        pedidos.execute("UPDATE pedido SET sku = sku || 'x' WHERE pedido_id = 9")

        def die(reached: str, work: Work, at: str = step) -> None:
            if reached == at and isinstance(work, Keys):
                raise ConnectionError("the worker goes away")

        with pytest.raises(ConnectionError):
            pedidos.run(engine=pedidos.engine(observe=die))
        pedidos.run()
        pedidos.assert_equal()


def test_keys_that_look_alike(lab: Lab) -> None:
    with lab.connect() as connection:
        connection.execute("CREATE TABLE medida (k float8 PRIMARY KEY, v int)")
        connection.execute("INSERT INTO medida VALUES ('-0', 1), ('NaN', 2), (7, 3)")
        connection.execute("CREATE TABLE par (a int, b int, PRIMARY KEY (a, b))")
        connection.execute("INSERT INTO par VALUES (1, 2), (2, 1), (3, 3)")
        connection.execute("CREATE TABLE vazia (id int PRIMARY KEY)")
        connection.execute("INSERT INTO vazia SELECT generate_series(1, 5)")
        connection.execute("CREATE TABLE serie (k float4[] PRIMARY KEY, v int)")
        connection.execute("INSERT INTO serie VALUES ('{-0,1}', 1), ('{NaN,NULL}', 2), ('{}', 3), ('{8}', 4)")
    lab.mirror_only("medida", "par", "vazia", "serie")
    lab.run()
    with lab.connect() as connection:
        # For both servers' order, 0.0 and -0.0 are one key; their bits differ.
        connection.execute("UPDATE medida SET k = 0.0, v = 5 WHERE k = 0")
        # Other keys, but the same number of keys, sums and products.
        connection.execute("DELETE FROM par")
        connection.execute("INSERT INTO par VALUES (1, 1), (2, 3), (3, 2)")
        connection.execute("TRUNCATE vazia")
        connection.execute("UPDATE serie SET k = '{0,1}', v = 5 WHERE v = 1")
        connection.execute("DELETE FROM serie WHERE v = 4")
    lab.run()
    for table in ("medida", "serie"):
        assert lab.query(f"SELECT v FROM vendas_dw.{table} ORDER BY v") == [(2,), (3,), (5,)], table
    lab.mirror_only("par", "vazia")
    lab.assert_equal()


def test_a_key_that_another_run_has_brought_meanwhile_stays(pedidos: Lab) -> None:
    """The older snapshot lacks the row, and its tombstones are published after the row."""
    pedidos.execute("DELETE FROM pedido WHERE pedido_id = 2")

    def insert(step: str, work: Work) -> None:
        if step == "staged" and isinstance(work, Keys):
            pedidos.execute("INSERT INTO pedido VALUES (2, 0, 'newer'), (99, 0, 'newer')")
            end = pedidos.now()
            pedidos.move(pedidos.plan((end - timedelta(microseconds=1), end)))

    pedidos.run(engine=pedidos.engine(observe=insert))
    assert pedidos.query("SELECT pedido_id FROM vendas_dw.pedido WHERE sku = 'newer' ORDER BY 1") == [
        (2,),
        (99,),
    ]


def test_which_tables_are_compared(lab: Lab) -> None:
    lab.options = replace(lab.options, compare_keys=10)
    lab.execute("DELETE FROM pedido WHERE pedido_id = 0")
    lab.run()
    assert lab.query("SELECT count() FROM vendas_dw.pedido") == [(30,)], "it is too large"
    lab.mirror_only(Table("pedido", deletes="keys"))
    lab.run()
    lab.assert_equal()
    lab.execute("DELETE FROM pedido WHERE pedido_id = 9")
    planned = lab.plan((lab.reached, lab.now()))
    lab.mirror_only(Table("pedido", deletes="keep"))
    with pytest.raises(RefusedError, match=r"pedido was planned as keys, and what is deleted is kept now"):
        lab.move(planned)
    assert lab.query("SELECT count() FROM vendas_dw.pedido") == [(27,)]
    again = lab.plan(conf={"inicio": "2026-01-01T00:00:00Z", "fim": "2026-01-02T00:00:00Z"})
    assert {work.kind for batch in again for work in batch.reads} == {"scan"}, "a range asks for no deletions"
    lab.mirror_only(
        Table("pedido", deletes="never"), Table("resumo", key="pedido_id", deletes="keys", way="copy")
    )
    with pytest.raises(RefusedError) as refused:
        lab.run()
    assert "table pedido: deletes is 'never'; it must be one of log, keys, keep" in str(refused.value)
    assert "table resumo: deletes is 'keys', and a copy finds deleted rows by itself" in str(refused.value)


@pytest.mark.parametrize("when", ["while it is planned", "after planning"])
def test_a_table_that_is_truncated_and_filled_meanwhile_is_moved(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The table has other files and only new rows, as after an ALTER TABLE. But windows find the times of all rows."""
    lab.mirror_only(*VENDAS.names)
    lab.options = replace(lab.options, compare_keys=1000)
    with lab.connect() as connection:
        lab.sell(connection)
    lab.run()
    late = lab.connect(autocommit=False)
    late.execute("SELECT 1")

    def truncate(*_: Any) -> Look:
        lab.execute("TRUNCATE item_venda")
        lab.sell(late)
        late.commit()
        late.close()
        return look(*_)

    lab.run()
    fim = lab.now()
    if when == "while it is planned":
        # After the catalog is read. The transaction ends before the open transactions are listed.
        with monkeypatch.context() as patch:
            patch.setattr("include.mirror.run.look", truncate)
            planned = lab.plan((lab.reached, fim))
    else:
        planned = lab.plan((lab.reached, fim))
        with lab.connect() as connection:
            truncate(connection, (), lab.zone)
    lab.move(planned)
    lab.reached = fim
    lab.run()
    lab.assert_equal()
    assert lab.query("SELECT count() FROM vendas_dw.item_venda") == [(1,)]
