"""Guarantees 1 to 3: any interval, any number of times, in any order; nothing lost; updates replace."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from tests.lab import Lab


def test_the_first_run_brings_rows_older_than_the_dag(lab: Lab) -> None:
    lab.execute("INSERT INTO venda (valor_total, updated_at) VALUES (1.25, '2019-05-01'), (7, '1999-12-31')")
    moved = lab.run()
    assert moved["venda"] == 2
    lab.assert_equal()


def test_any_interval_again_and_in_any_order_gives_the_same_warehouse(lab: Lab) -> None:
    start = lab.now()
    intervals = []
    for number in range(4):
        with lab.connect() as connection, connection.transaction():
            lab.sell(connection, f"{number}.99")
            connection.execute("UPDATE produto SET preco_base = preco_base + 1 WHERE produto_id = 1")
        end = lab.now()
        intervals.append((start, end))
        start = end
    lab.run(*intervals[-1])
    lab.assert_equal()
    before = {table: lab.warehouse_rows(table) for table in lab.tables}
    replays = [*intervals, *intervals[:2]]
    random.Random(7).shuffle(replays)
    for interval in replays:
        lab.run(*interval)
    for inicio, fim in intervals[:2]:
        conf = {"inicio": inicio.isoformat(), "fim": fim.isoformat()}
        assert lab.run(conf=conf)["venda"] == 1
    assert {table: lab.warehouse_rows(table) for table in lab.tables} == before
    lab.assert_equal()


def test_overlapping_intervals_double_nothing(lab: Lab) -> None:
    start = lab.now()
    with lab.connect() as connection:
        for _ in range(4):
            lab.sell(connection)
    end = lab.now()
    conf = {"inicio": start.isoformat(), "fim": end.isoformat()}
    wider = {"inicio": (start - timedelta(hours=1)).isoformat(), "fim": end.isoformat()}
    for one in (conf, wider, conf):
        lab.run(conf=one)
    lab.run(start, end)
    assert lab.query("SELECT count() FROM vendas_dw.venda") == [(4,)]
    lab.assert_equal()


def test_an_update_replaces(lab: Lab) -> None:
    with lab.connect() as connection:
        venda = lab.sell(connection)
    lab.run()
    lab.execute("UPDATE venda SET entregue = 'S' WHERE venda_id = %s", (venda,))
    lab.run()
    assert lab.query("SELECT count(), any(entregue) FROM vendas_dw.venda") == [(1, "S")]
    lab.assert_equal()


def test_an_old_window_replayed_changes_nothing(lab: Lab) -> None:
    start = lab.now()
    with lab.connect() as connection:
        venda = lab.sell(connection)
    middle = lab.now()
    lab.run(start, middle)
    lab.execute("UPDATE venda SET entregue = 'S', valor_total = 99.99 WHERE venda_id = %s", (venda,))
    lab.run()
    lab.run(conf={"inicio": start.isoformat(), "fim": middle.isoformat()})
    lab.assert_equal()


def test_an_outage_of_five_intervals_is_made_good_by_the_next_run(lab: Lab) -> None:
    lab.run()
    for number in range(5):
        with lab.connect() as connection:
            lab.sell(connection, f"{number}.10")
    last = lab.now()
    with lab.connect() as connection:
        lab.sell(connection)
    # The schedule asks for the newest interval only.
    moved = lab.run(last, lab.now())
    assert moved["venda"] == 6
    lab.assert_equal()


def test_what_a_run_that_failed_for_good_left_behind_arrives_with_the_next(lab: Lab) -> None:
    lab.run()
    with lab.connect() as connection:
        lab.sell(connection)
    lab.plan((lab.now() - timedelta(seconds=1), lab.now()))  # planned and never moved
    with lab.connect() as connection:
        lab.sell(connection)
    end = lab.now()
    assert lab.run(end - timedelta(microseconds=1), end)["venda"] == 2
    lab.assert_equal()


def test_a_table_added_later_arrives_whole(lab: Lab) -> None:
    with lab.connect() as connection:
        lab.sell(connection)
    every = lab.declaration
    lab.declaration = replace(every, tables=[one for one in every.declared if one.name != "item_venda"])
    lab.run()
    lab.assert_equal()
    lab.declaration = every
    lab.run()
    lab.assert_equal()


def test_a_quiet_interval_leaves_a_ledger_row_per_table(lab: Lab) -> None:
    lab.run()
    end = lab.now()
    start = end - timedelta(milliseconds=5)
    lab.run(start, end)
    rows = lab.query(
        "SELECT tabela, rows FROM vendas_dw.cargas WHERE run_id = 'test__2' AND kind = 'window' ORDER BY tabela"
    )
    assert rows == [(name, 0) for name in sorted(lab.tables)]


def test_no_stage_is_left_behind(lab: Lab) -> None:
    lab.run()
    assert lab.query("SELECT name FROM system.tables WHERE name LIKE 'stage%'") == []


def test_only_the_chosen_tables_move(lab: Lab) -> None:
    start = lab.now()
    with lab.connect() as connection:
        lab.sell(connection)
    conf = {"inicio": start.isoformat(), "fim": lab.now().isoformat(), "tabelas": ["venda"]}
    assert lab.run(conf=conf) == {"venda": 1}


def test_rows_spread_over_partitions_are_published_each_once(lab: Lab) -> None:
    lab.execute(
        "INSERT INTO venda (venda_id, valor_total) SELECT 1 + n * 10000000, n FROM generate_series(0, 119) AS n"
    )
    lab.run()
    lab.execute("UPDATE venda SET valor_total = valor_total + 0.01 WHERE venda_id > 500000000")
    lab.run()
    lab.assert_equal()
