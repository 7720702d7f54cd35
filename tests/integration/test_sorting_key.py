"""A table that is sorted by other columns than its key: each row is in one place, whatever moves it."""

from __future__ import annotations

import itertools
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from include.mirror import move
from include.mirror.declaration import Table
from include.mirror.errors import RefusedError
from include.mirror.ledger import Attempt
from include.mirror.plan import Work
from include.mirror.reconcile import Limits, ReconcileOptions, reconcile
from include.mirror.run import move_batch
from tests.integration.mover import Movers
from tests.integration.watch import Watcher
from tests.lab import Lab, wait_for_lock

ORDER = ("cliente", "id")
SCHEMA = """
CREATE TABLE pedido (id int PRIMARY KEY, cliente int NOT NULL, valor numeric(10, 2), updated_at timestamptz DEFAULT now());
CREATE TRIGGER marca BEFORE UPDATE ON pedido FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE INDEX ON pedido (updated_at);
INSERT INTO pedido SELECT n, n % 7, n FROM generate_series(1, 60) AS n;
"""


def of_way(way: str, **options: Any) -> Table:
    """Return the declaration of the table, in partitions of 20 keys each, unless it is copied."""
    change = "updated_at" if way == "window" else None
    return Table("pedido", way=way, order_by=ORDER, partition_width=20, change_column=change, **options)


def fill(lab: Lab, table: Table) -> None:
    lab.execute(SCHEMA)
    lab.mirror_only(table)
    lab.options = replace(lab.options, compare_keys=1000)
    lab.run()
    lab.assert_equal()


@pytest.fixture
def filled(lab: Lab) -> Lab:
    """Sixty rows in `pedido`, which has windows and is sorted by its clients."""
    fill(lab, of_way("window"))
    return lab


@contextmanager
def reader(lab: Lab) -> Iterator[None]:
    """Poll the view while the block runs. Fail if a key is there twice, or one is missing that no test deletes."""
    kept = set(range(1, 61)) - {1, 10, 11, 16, 31, 50, 51}
    with Watcher(lab.clickhouse, {"pedido": "SELECT id, 0 FROM vendas_dw.pedido"}, pause=0.05) as watcher:
        watcher.settle("pedido", {(key,): 0 for key in kept}, all_known=False)
        yield
    assert watcher.polls > 1


def _run(lab: Lab) -> None:
    lab.run()


def merge(lab: Lab) -> None:
    client = lab.clickhouse.client()
    client.command("OPTIMIZE TABLE vendas_raw.pedido FINAL")
    client.close()


def assert_settled(lab: Lab) -> None:
    """Compare both sides, before and after all versions of a place have been merged."""
    lab.assert_equal()
    merge(lab)
    lab.assert_equal()


CHANGES = [
    "UPDATE pedido SET cliente = cliente + 1 WHERE id % 5 = 0; UPDATE pedido SET valor = valor + 1 WHERE id % 3 = 0;"
    "DELETE FROM pedido WHERE id IN (6, 26, 46)",
    # Back to a place that was left; deleted and inserted again, between two runs and in one, in other places and the same.
    "UPDATE pedido SET cliente = cliente - 1 WHERE id % 10 = 0; UPDATE pedido SET id = id + 100 WHERE id IN (30, 31);"
    "INSERT INTO pedido VALUES (6, 0, 1), (26, 5, 2);"
    "DELETE FROM pedido WHERE id IN (7, 8); INSERT INTO pedido VALUES (7, 100, 1), (8, 1, 2)",
    "UPDATE pedido SET cliente = 0 WHERE id IN (130, 20); DELETE FROM pedido WHERE id IN (131, 6)",
]


@pytest.mark.parametrize("way", ["window", "scan", "copy"])
def test_each_row_is_in_one_place(lab: Lab, way: str) -> None:
    fill(lab, of_way(way))
    assert lab.query(
        "SELECT sorting_key FROM system.tables WHERE name = 'pedido' AND database = 'vendas_raw'"
    ) == [("cliente, id",)]
    for statement in CHANGES:
        lab.execute(statement)
        lab.run()
        lab.assert_equal()
    assert_settled(lab)
    # Nothing is left to be moved, and old intervals again change nothing.
    lab.run(lab.now() - timedelta(hours=1), lab.now())
    assert_settled(lab)


def test_deleted_rows_that_a_log_names_leave_their_places(lab: Lab) -> None:
    lab.execute(SCHEMA)
    lab.execute(lab.delete_log("pedido"))
    lab.mirror_only(of_way("scan", deletes="log"))
    lab.run()
    for statement in CHANGES:
        lab.execute(statement)
        lab.run()
        lab.assert_equal()
    kinds = lab.query("SELECT sum(rows) FROM vendas_raw.cargas WHERE kind = 'log'")
    assert kinds == [(7,)]
    assert_settled(lab)


def test_rows_that_commit_late_leave_their_places(filled: Lab) -> None:
    lab = filled
    with lab.connect(autocommit=False) as late:
        late.execute("UPDATE pedido SET cliente = 50 WHERE id IN (1, 41)")
        late.execute("DELETE FROM pedido WHERE id = 2")
        lab.execute("UPDATE pedido SET cliente = 60 WHERE id = 3")
        lab.run()
        late.commit()
    lab.run()
    assert_settled(lab)


def during(lab: Lab, step: str, action: Callable[[], object]) -> Callable[[str, Work], None]:
    """Return an observer that acts once, when a window of the table gets to this step."""
    left = [action]

    def observe(reached: str, work: Work) -> None:
        if reached == step and work.kind == "window" and left:
            left.pop()()

    return observe


def test_an_older_snapshot_that_is_published_later_changes_no_place(filled: Lab) -> None:
    lab = filled
    lab.execute("UPDATE pedido SET cliente = 30")
    older = lab.plan((lab.reached, lab.now()))

    def newer() -> None:
        lab.execute("UPDATE pedido SET cliente = 40 WHERE id < 6")
        lab.execute("DELETE FROM pedido WHERE id IN (10, 50)")
        lab.execute(
            "DELETE FROM pedido WHERE id IN (11, 51); INSERT INTO pedido VALUES (11, 31, 1), (51, 30, 1)"
        )
        lab.run()
        lab.assert_equal()

    with reader(lab):
        lab.move(older, lab.engine(observe=during(lab, "verified", newer)))
        lab.assert_equal()
    lab.run()
    assert_settled(lab)


def test_who_publishes_next_waits_until_the_places_are_settled(filled: Lab) -> None:
    lab = filled
    lab.execute("UPDATE pedido SET cliente = 30")
    older = lab.plan((lab.reached, lab.now()))
    threads: list[threading.Thread] = []

    def newer() -> None:
        lab.execute("UPDATE pedido SET cliente = id")
        threads.append(threading.Thread(target=lab.run))
        threads[0].start()
        with lab.connect() as connection:
            wait_for_lock(connection, lab.spec("pedido").oid)

    with reader(lab):
        lab.move(older, lab.engine(observe=during(lab, "settled", newer)))
        threads[0].join()
    lab.run()
    assert_settled(lab)


def test_without_the_lock_rows_in_two_places_are_noticed_and_mended(
    filled: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lab = filled
    lab.execute("UPDATE pedido SET cliente = 30")
    older = lab.plan((lab.reached, lab.now()))

    def newer() -> None:
        lab.execute("UPDATE pedido SET cliente = 40 WHERE id < 6")
        lab.run()

    keys = itertools.count(1000)
    take = move._Lock.take

    def lock_something_else(lock: move._Lock) -> str:
        return take(replace(lock, key=next(keys)) if lock.key == move.SORT_LOCK else lock)

    monkeypatch.setattr(move._Lock, "take", lock_something_else)
    monkeypatch.setattr(move._Lock, "free", lambda _: "SELECT 1")
    lab.move(older, lab.engine(observe=during(lab, "settled", newer)))
    assert "5 rows of public.pedido were in two places of the warehouse's table" in caplog.text
    assert_settled(lab)


def test_killed_at_each_step_no_row_is_seen_twice(filled: Lab) -> None:
    lab = filled
    with Movers() as movers, reader(lab):
        for number, step in enumerate(["settled", "published", "confirmed"]):
            lab.execute(f"UPDATE pedido SET cliente = {100 - number} WHERE id % 3 > 0")
            lab.execute(f"DELETE FROM pedido WHERE id = {number * 15 + 1}")
            assert movers.run(lab, step, "pedido") == -signal.SIGKILL
            assert lab.query("SELECT count() = uniqExact(id) FROM vendas_dw.pedido") == [(1,)]
            lab.run()
            lab.assert_equal()
    assert_settled(lab)


def test_another_order_is_a_rebuild(filled: Lab) -> None:
    lab = filled
    lab.mirror_only(Table("pedido", change_column="updated_at", order_by=("valor", "id")))
    with pytest.raises(RefusedError, match=r"valor of order_by \(valor, id\) can be NULL.* run ALTER TABLE"):
        lab.run()
    lab.execute('ALTER TABLE public.pedido ALTER COLUMN "valor" SET NOT NULL')
    with pytest.raises(
        RefusedError, match=r"is ordered by cliente, id, expected valor, id.*reconstruir"
    ) as refused:
        lab.run()
    assert '{"reconstruir": ["pedido"]}' in str(refused.value)
    with reader(lab):
        lab.run(conf={"reconstruir": ["pedido"]})
        lab.execute("UPDATE pedido SET valor = valor * 2, cliente = 9")
        lab.run()
    assert_settled(lab)
    # Back to the key.
    lab.mirror_only(Table("pedido", change_column="updated_at"))
    lab.run(conf={"reconstruir": ["pedido"]})
    lab.execute("UPDATE pedido SET valor = 1")
    lab.run()
    assert_settled(lab)


def test_reconciliation_finds_a_row_in_two_places(filled: Lab) -> None:
    lab = filled
    client = lab.clickhouse.client()
    client.command(
        "INSERT INTO vendas_raw.pedido SELECT * REPLACE (500 AS cliente) FROM vendas_dw.pedido AS p, "
        "(SELECT max(version) AS version, 0 AS is_deleted FROM vendas_raw.pedido) AS v WHERE id IN (3, 33)"
    )
    client.close()
    attempt = Attempt(uuid4(), "reconcile__test", 1)
    limits = Limits(share=1, patience=timedelta(seconds=20))
    found = reconcile(lab.engine(), "pedido", ReconcileOptions(), attempt, limits, wait=lambda: _run(lab))
    assert (found.word, found.repaired) == ("repaired", 2)
    assert_settled(lab)


@pytest.mark.parametrize("way", ["window", "scan"])
def test_random_histories_end_equal(lab: Lab, way: str) -> None:
    """Changes and runs at random, some of which publish what they read before others did."""
    chance = random.Random(16)
    fill(lab, of_way(way))

    def change() -> None:
        some = f"id % {chance.randint(2, 9)} = 0"
        lab.execute(
            chance.choice(
                [
                    f"UPDATE pedido SET cliente = {chance.randint(0, 9)} WHERE {some}",
                    f"UPDATE pedido SET cliente = -cliente WHERE {some}",
                    f"DELETE FROM pedido WHERE {some} AND id > 50",
                    f"INSERT INTO pedido SELECT n, {chance.randint(0, 9)} FROM generate_series(51, 60) AS n"
                    " ON CONFLICT DO NOTHING",
                ]
            )
        )

    for _ in range(3):
        change()
        first = lab.plan((lab.reached, lab.now()))
        change()

        def between() -> None:
            change()
            lab.run()

        step = chance.choice(["snapshot", "staged", "verified"])
        acted = [between]

        def observe(reached: str, _: Work, step: str = step, acted: list[Callable[[], None]] = acted) -> None:
            if reached == step and acted:
                acted.pop()()

        for batch in first:
            move_batch(lab.engine(observe=observe), batch, "first", 1)
        assert lab.query("SELECT count() = uniqExact(id) FROM vendas_dw.pedido") == [(1,)]
        lab.run()
    lab.run()
    assert_settled(lab)
