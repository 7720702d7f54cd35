"""Reconciliation: wrong rows are found, distinguished from rows on their way, repaired, and proved equal."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Literal
from uuid import uuid4

import psycopg
import pytest

from include.conventions.errors import RequestError
from include.mirror.declaration import Table
from include.mirror.errors import WarehouseError, WrongRowsError
from include.mirror.ledger import Attempt
from include.mirror.plan import Work
from include.mirror.reconcile import (
    Limits,
    ReconcileOptions,
    conclude,
    plan_reconciliation,
    reconcile,
)
from include.mirror.reports import Report
from tests.lab import OPTIONS, Lab

LIMITS = Limits(share=1, patience=timedelta(seconds=20))
IMPATIENT = replace(LIMITS, patience=timedelta(0))
KEYS = replace(OPTIONS, compare_keys=1_000_000)


def attempt() -> Attempt:
    return Attempt(uuid4(), "reconcile__test", 1)


def look(lab: Lab, table: str, limits: Limits = LIMITS, **asked: bool) -> Report:
    """Reconcile one table. The schedule goes on while it waits."""
    return reconcile(
        lab.engine(), table, ReconcileOptions(**asked), attempt(), limits, wait=lambda: _run(lab)
    )


def _run(lab: Lab) -> None:
    lab.run()


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """Two thousand rows in `coisa`. Only reconciliation finds its deleted rows."""
    lab.execute("CREATE TABLE coisa (id bigint PRIMARY KEY, nome text, valor numeric(10, 2), em timestamptz)")
    lab.execute(
        "INSERT INTO coisa SELECT n - 1000, 'nome ' || n, n / 7.0, '2026-01-01 00:00Z'::timestamptz + n * interval '1 s'"
        " FROM generate_series(1, 2000) n"
    )
    lab.mirror_only("coisa")
    lab.run()
    return lab


def damage(lab: Lab, statement: str) -> None:
    client = lab.clickhouse.client()
    client.command(statement, settings={"mutations_sync": 2})
    client.close()


def test_equal_sides_are_recognized_by_sums_alone(filled: Lab) -> None:
    found = look(filled, "coisa")
    assert (found.word, found.rows_source, found.rows_warehouse) == ("equal", 2000, 2000)
    # The buckets of both sides, also those of negative keys, and no row.
    assert found.moved == 2 * 255
    assert found.samples == ()
    assert filled.query("SELECT kind FROM vendas_raw.cargas WHERE kind = 'repair'") == []
    ((word, reason),) = filled.query("SELECT word, reason FROM vendas_dw.reconciliacoes")
    assert (word, reason) == ("equal", "")
    conclude([found], only_report=True)


COPY_OF = "INSERT INTO vendas_raw.coisa (id, nome, valor, em, version, is_deleted) SELECT"
DAMAGE = {
    "altered": (f"{COPY_OF} id, 'other', valor, em, version, 0 FROM vendas_raw.coisa WHERE id IN (1, -7)", 2),
    "removed": (
        f"{COPY_OF} id, nome, valor, em, version, 1 FROM vendas_raw.coisa WHERE id BETWEEN 10 AND 12",
        3,
    ),
    "added": (f"{COPY_OF} id + 100000, nome, valor, em, version, 0 FROM vendas_raw.coisa WHERE id = 5", 1),
    "moved to another key": (
        f"{COPY_OF} id + 5000 * is, nome, valor, em, version, 1 - is FROM vendas_raw.coisa"
        " ARRAY JOIN [0, 1] AS is WHERE id = 6",
        2,
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_repaired_and_named(filled: Lab, name: str) -> None:
    statement, rows = DAMAGE[name]
    damage(filled, statement)
    # The ledger can't know of it, and a run succeeds.
    filled.run()
    reported = look(filled, "coisa", only_report=True)
    assert (reported.word, reported.wrong + reported.deleted, reported.repaired) == ("differs", rows, 0)
    found = look(filled, "coisa")
    assert (found.word, found.repaired) == ("repaired", rows)
    assert len(found.samples) == min(rows, 5)
    filled.assert_equal()
    assert look(filled, "coisa").word == "equal"
    # Neither another order of runs nor reading an old interval again brings it back.
    filled.run()
    filled.assert_equal()


def test_what_is_wrong_is_reported_with_key_column_and_both_values(filled: Lab) -> None:
    damage(filled, DAMAGE["altered"][0])
    found = look(filled, "coisa")
    assert sorted(found.samples) == [
        "id = '-7': nome is 'nome 993' in the source and 'other' in the warehouse",
        "id = '1': nome is 'nome 1001' in the source and 'other' in the warehouse",
    ]
    with pytest.raises(WrongRowsError, match=r"coisa: repaired, .*2 different, 2 repaired; .*id = '-7'"):
        conclude([found], only_report=False)


@pytest.mark.parametrize(
    "rows", [300_000, pytest.param(10_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_few_damaged_rows_move_few_of_many(lab: Lab, rows: int) -> None:
    lab.execute("CREATE TABLE muita (id int PRIMARY KEY, valor int)")
    lab.execute("INSERT INTO muita SELECT n, n FROM generate_series(1, %s) n", [rows])
    lab.mirror_only("muita")
    lab.run()
    damage(
        lab,
        "INSERT INTO vendas_raw.muita (id, valor, version) SELECT id, 0, version FROM vendas_raw.muita"
        f" WHERE id IN (1, {rows // 4}, {rows // 2}, {rows - 77}, {rows})",
    )
    found = look(lab, "muita")
    print(f"{found}; moved {found.moved} sums and hashes")
    assert (found.word, found.different, found.repaired) == ("repaired", 5, 5)
    assert found.moved < rows / 100
    assert lab.query("SELECT sum(rows) FROM vendas_raw.cargas WHERE kind = 'repair'") == [(5,)]
    lab.assert_equal()


def test_rows_on_their_way_are_not_wrong(filled: Lab) -> None:
    filled.execute("UPDATE coisa SET nome = 'new' WHERE id < -990")
    filled.execute("DELETE FROM coisa WHERE id > 995")
    filled.options = KEYS
    found = look(filled, "coisa")
    assert (found.word, found.wrong, found.repaired) == ("equal", 0, 0)
    assert found.in_flight == 14
    filled.assert_equal()


def test_rows_that_change_all_the_time_are_not_wrong(filled: Lab) -> None:
    def meanwhile() -> None:
        filled.execute("UPDATE coisa SET nome = nome || '.' WHERE id = 1")
        filled.run()
        filled.execute("UPDATE coisa SET nome = rtrim(nome, '.') WHERE id = 1")

    filled.execute("UPDATE coisa SET nome = 'new' WHERE id IN (1, 2)")
    found = reconcile(filled.engine(), "coisa", ReconcileOptions(), attempt(), LIMITS, wait=meanwhile)
    assert found.wrong == 0
    assert (found.in_flight + found.coming, found.undecided) == (2, 0)
    filled.run()
    filled.assert_equal()


def test_without_a_run_what_was_written_since_is_on_its_way(filled: Lab) -> None:
    filled.execute("UPDATE coisa SET nome = 'new' WHERE id = 1")
    found = look(filled, "coisa", IMPATIENT)
    assert (found.word, found.coming, found.in_flight, found.undecided, found.wrong) == (
        "follows",
        1,
        0,
        0,
        0,
    )
    assert found.reason.startswith("no run has read it since ")
    with pytest.raises(WrongRowsError, match="follows"):
        conclude([found], only_report=False)


@pytest.mark.parametrize("way", ["scan", "window"])
def test_what_is_wrong_is_not_hidden_by_what_is_on_its_way(
    filled: Lab, way: Literal["scan", "window"]
) -> None:
    filled.execute("ALTER TABLE coisa ADD updated_at timestamptz NOT NULL DEFAULT now()")
    filled.mirror_only(Table("coisa", way=way, change_column="updated_at" if way == "window" else None))
    filled.run()
    filled.run()
    filled.execute("DELETE FROM coisa WHERE id BETWEEN 1 AND 100")
    changed = COPY_OF.replace("(id, nome, valor, em,", "(id, nome, valor, em, updated_at,")
    damage(
        filled,
        f"{changed} id, 'other', valor, em, updated_at, version, 0 FROM vendas_raw.coisa WHERE id IN (-1, -2)",
    )
    filled.run()
    # No more runs, while people go on writing.
    filled.execute("UPDATE coisa SET nome = 'new', updated_at = now() WHERE id BETWEEN -500 AND -100")
    filled.execute("INSERT INTO coisa SELECT n, 'new' FROM generate_series(5001, 5124) AS n")
    found = look(filled, "coisa", IMPATIENT, only_report=True)
    assert (found.word, found.coming, found.undecided) == ("differs", 401 + 124, 0)
    assert (found.deleted, found.different, found.missing, found.extra) == (100, 2, 0, 0)
    # Some of each kind.
    assert len([one for one in found.samples if "'other' in the warehouse" in one]) == 2
    assert len([one for one in found.samples if one.endswith("not in the source")]) == 3
    # Nothing else is repaired.
    found = look(filled, "coisa", IMPATIENT)
    assert (found.word, found.repaired, found.coming) == ("follows", 102, 525)
    filled.run()
    assert look(filled, "coisa", IMPATIENT).word == "equal"
    filled.assert_equal()


def test_what_only_the_next_run_can_decide_is_not_reported(filled: Lab) -> None:
    """A row may have been deleted by now, or removed by hand. If runs compare all keys, the next run decides."""
    filled.options = KEYS
    filled.run()
    filled.execute("DELETE FROM coisa WHERE id = 1")
    filled.execute("UPDATE coisa SET nome = 'new' WHERE id = 2")
    found = look(filled, "coisa", IMPATIENT, only_report=True)
    assert (found.word, found.undecided, found.coming, found.wrong) == ("unknown", 1, 1, 0)
    assert found.reason.startswith("no run has looked for its deleted rows since ")
    assert look(filled, "coisa", only_report=True).word == "equal"


def test_a_late_commit_that_is_still_to_be_read_again_hides_nothing(lab: Lab) -> None:
    with lab.connect(autocommit=False) as late, lab.connect() as now:
        sold = lab.sell(now)
        lab.run()
        lab.sell(late)
        lab.run()
        late.commit()
    damage(
        lab,
        "INSERT INTO vendas_raw.venda (venda_id, updated_at, version, is_deleted)"
        f" SELECT venda_id, updated_at, version, 1 FROM vendas_raw.venda WHERE venda_id = {sold}",
    )
    found = look(lab, "venda", IMPATIENT, only_report=True)
    assert (found.word, found.coming, found.missing) == ("differs", 1, 1)
    assert found.samples == (f"venda_id = '{sold}': not in the warehouse",)


def test_a_late_commit_is_on_its_way(lab: Lab) -> None:
    lab.run()
    with lab.connect(autocommit=False) as late, lab.connect() as now:
        lab.sell(late)
        lab.sell(now)
        lab.run()
        late.commit()
        found = look(lab, "venda")
    assert (found.word, found.in_flight, found.wrong) == ("equal", 1, 0)
    lab.assert_equal()


@pytest.mark.parametrize("prepared", [False, True])
def test_a_source_that_is_never_quiet_is_compared_all_the_same(lab: Lab, prepared: bool) -> None:
    """In each run, transactions are open that are gone when it has ended. So there is always something to read again."""
    lab.run()
    with lab.connect() as connection:
        for _ in range(5):
            lab.sell(connection)
    lab.run()

    def busy() -> None:
        with lab.connect(autocommit=False) as writing:
            lab.sell(writing)
            if prepared:
                writing.execute("PREPARE TRANSACTION 'venda'")

            def end(step: str, work: Work) -> None:
                if step == "snapshot" and work.tabela == "venda":
                    with suppress(psycopg.errors.UndefinedObject):
                        lab.execute("COMMIT PREPARED 'venda'") if prepared else writing.commit()

            lab.run(engine=lab.engine(observe=end))

    busy()
    damage(
        lab,
        "INSERT INTO vendas_raw.venda SELECT * REPLACE (0 AS valor_total) FROM vendas_raw.venda FINAL WHERE venda_id = 2",
    )
    limits = replace(LIMITS, patience=timedelta(seconds=60))
    found = reconcile(lab.engine(), "venda", ReconcileOptions(), attempt(), limits, wait=busy)
    assert (found.word, found.different, found.wrong, found.repaired) == ("repaired", 1, 1, 1), found
    assert found.in_flight == 1
    lab.run()
    lab.assert_equal()


def test_deleted_rows_that_nothing_else_finds(filled: Lab) -> None:
    filled.execute("DELETE FROM coisa WHERE id BETWEEN 1 AND 100")
    filled.execute("UPDATE coisa SET id = id + 7000 WHERE id = 500")
    filled.run()
    found = look(filled, "coisa")
    assert (found.word, found.wrong, found.deleted, found.repaired) == ("repaired", 0, 101, 101)
    conclude([found], only_report=False)
    filled.assert_equal()
    # A deleted row that is inserted again is mirrored again, in any order of runs.
    filled.execute("INSERT INTO coisa VALUES (1, 'again', 1, now())")
    filled.run()
    filled.assert_equal()


def test_a_source_that_was_emptied_does_not_empty_the_warehouse(filled: Lab) -> None:
    filled.execute("DELETE FROM coisa WHERE id > -500")
    filled.run()
    found = look(filled, "coisa")
    assert (found.word, found.deleted, found.repaired) == ("differs", 1500, 0)
    assert "1,500 of 2,000 rows would be deleted, more than 20%" in found.reason
    assert filled.query("SELECT count() FROM vendas_dw.coisa") == [(2000,)]
    assert look(filled, "coisa", confirmed=True).word == "repaired"
    filled.assert_equal()


def test_rows_that_are_to_be_kept_are_kept(filled: Lab) -> None:
    filled.mirror_only(Table("coisa", deletes="keep"))
    filled.execute("DELETE FROM coisa WHERE id = 1")
    filled.run()
    damage(filled, DAMAGE["altered"][0])
    found = look(filled, "coisa")
    assert (found.different, found.deleted, found.extra) == (1, 0, 0)
    assert filled.query("SELECT count() FROM vendas_dw.coisa") == [(2000,)]


def test_a_version_that_no_clock_has_reached_is_refused_with_what_to_do(filled: Lab) -> None:
    damage(
        filled, f"{COPY_OF} id, 'other', valor, em, 9000000000000000000, 0 FROM vendas_raw.coisa WHERE id = 1"
    )
    found = look(filled, "coisa")
    assert found.word == "unknown"
    assert (
        "versions in the warehouse that the source's clock has not reached, up to 9000000000000000000"
        in found.reason
    )
    statement = found.reason.split("Run ")[1]
    damage(filled, statement)
    filled.run()
    assert look(filled, "coisa").word == "equal"
    filled.assert_equal()


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE TABLE vendas_raw.coisa",
        "ALTER TABLE vendas_raw.coisa UPDATE nome = 'other' WHERE id = 1",
        "DELETE FROM vendas_raw.coisa WHERE id = 1",
    ],
)
def test_what_the_next_run_reads_again_is_waited_for(filled: Lab, statement: str) -> None:
    damage(filled, statement)
    assert look(filled, "coisa", IMPATIENT).reason.startswith("it is not known yet")
    found = look(filled, "coisa")
    assert (found.word, found.wrong) == ("equal", 0)
    filled.assert_equal()


def test_what_later_transactions_owe_is_not_waited_for(lab: Lab) -> None:
    """If every window has a transaction that commits late, something is always owed, but not for this snapshot."""
    lab.run()
    late = lab.connect(autocommit=False)

    def wait() -> None:
        # The open transaction has committed, and its re-read is owed. Another one begins, and the next window notes it.
        nonlocal late
        late.commit()
        late.close()
        late = lab.connect(autocommit=False)
        lab.sell(late)
        lab.run()
        lab.run()
        late.commit()

    lab.sell(late)
    damage(
        lab, "INSERT INTO vendas_raw.pais SELECT * REPLACE ('x' AS pais) FROM vendas_raw.pais FINAL LIMIT 1"
    )
    found = reconcile(
        lab.engine(),
        "pais",
        ReconcileOptions(),
        attempt(),
        replace(LIMITS, patience=timedelta(seconds=8)),
        wait=wait,
    )
    late.close()
    assert (found.word, found.different) == ("repaired", 1)


def test_a_table_that_is_being_loaded_is_not_judged(lab: Lab) -> None:
    with pytest.raises(
        WarehouseError, match="there is no ledger in vendas_raw yet: etl_vendas has to run once"
    ):
        look(lab, "venda", IMPATIENT)
    lab.run()
    damage(lab, "ALTER TABLE vendas_raw.cargas DELETE WHERE tabela = 'venda' AND kind = 'window'")
    with lab.connect() as connection:
        lab.sell(connection)
    found = look(lab, "venda", IMPATIENT)
    assert (found.word, found.wrong) == ("follows", 0)
    assert look(lab, "venda").word == "equal"


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"tabelas": ["vendaa"]}, r"unknown table 'vendaa' in tabelas; .*venda"),
        ({"inicio": "2026-01-01T00:00:00Z"}, "reconciliation takes no inicio: tables are compared whole"),
        (
            {"tabela": ["venda"]},
            r"unknown conf key 'tabela'; there are tabelas, somente_relatorio, confirmar",
        ),
        ({"tabelas": "venda"}, r"tabelas is 'venda'; it must be a list of tables"),
        ({"confirmar": "yes"}, r"confirmar is 'yes'; it must be true or false"),
    ],
)
def test_a_conf_that_makes_no_sense(lab: Lab, conf: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        plan_reconciliation(lab.engine(), conf)


def test_the_source_is_read_in_short_pieces_with_pauses(filled: Lab) -> None:
    filled.execute("INSERT INTO coisa SELECT n, repeat('x', 300) FROM generate_series(5000, 60000) n")
    filled.run()
    pauses: list[float] = []
    found = reconcile(
        filled.engine(),
        "coisa",
        ReconcileOptions(),
        attempt(),
        replace(LIMITS, share=0.25),
        rest=pauses.append,
    )
    assert found.word == "equal"
    assert found.statements == len(pauses) > 3
    assert all(pause > 0 for pause in pauses)
    assert sum(pauses) >= 3 * found.longest
