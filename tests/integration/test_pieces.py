"""The pieces of a large window overlap in one task: one is read while another is published, and each stands alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from include.mirror.batch import Batch
from include.mirror.errors import VerificationError
from include.mirror.move import BATCHES_AT_ONCE
from include.mirror.plan import Work
from include.mirror.run import move_batch
from include.mirror.source import snapshot
from include.mirror.warehouse.client import Warehouse
from include.vendas.tables import VENDAS
from tests.integration.mover import Death, Movers
from tests.integration.test_quiet_run import HANDSHAKE, CountingPool
from tests.lab import Lab

PER_PIECE = 8
"""How often a piece asks ClickHouse, beside its inserts."""

STEPS = ("noted", "snapshot", "extracted", "staged", "verified", "published", "confirmed", "recorded")


@pytest.fixture
def history(lab: Lab) -> Lab:
    """A thousand sales, an hour apart, none of them moved; pieces of a hundred go through one task."""
    lab.run()
    lab.options = replace(lab.options, max_rows=100, tasks=1)
    lab.execute(
        "INSERT INTO venda (valor_total, updated_at)"
        " SELECT n, timestamp '2020-01-01' + n * interval '1 hour' FROM generate_series(1, 1000) AS n"
    )
    return lab


def planned(lab: Lab, pieces: int = 10) -> list[Batch]:
    """Plan so many pieces of the history."""
    conf = {
        "inicio": "2020-01-01T00:00:00Z",
        "fim": "2020-02-12T00:00:00Z",
        "tabelas": ["venda"],
    }
    (batch,) = lab.plan(conf=conf)
    found = [works for works in batch.passes if len(works) == 1]
    return [replace(batch, passes=tuple(found[:pieces]))]


def test_one_piece_reads_at_a_time_and_two_are_under_way_at_most(history: Lab) -> None:
    lab, lock = history, threading.Lock()
    reading: set[Work] = set()
    under_way: set[Work] = set()
    most = {"reading": 0, "under way": 0}
    threads: set[int] = set()

    def watch(step: str, work: Work) -> None:
        with lock:
            threads.add(threading.get_ident())
            if step == "noted":
                reading.add(work)
                under_way.add(work)
            elif step == "staged":
                reading.discard(work)
            elif step == "recorded":
                under_way.discard(work)
            most["reading"] = max(most["reading"], len(reading))
            most["under way"] = max(most["under way"], len(under_way))

    lab.move(planned(lab), lab.engine(observe=watch))
    assert most["reading"] == 1
    assert most["under way"] == 2
    assert len(threads) == 2
    lab.assert_equal()


def test_a_piece_asks_the_warehouse_few_times(history: Lab) -> None:
    lab = history

    def requests(pieces: int) -> int:
        pool, clients = CountingPool(), list[Any]()

        def connect() -> Any:
            clients.append(lab.clickhouse.client(pool_mgr=pool))
            return clients[-1]

        engine = lab.engine(warehouse=Warehouse(connect, VENDAS.storage, VENDAS.views))
        for batch in planned(lab, pieces):
            move_batch(engine, batch, f"counted {pieces}", 1)
        return len(pool.sent) - HANDSHAKE * len(clients)

    few, many = requests(2), requests(6)
    # A hundred rows are one insert.
    assert many - few <= 4 * (PER_PIECE + 1)


def test_several_batches_make_one_part(history: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, batches = history, 0
    monkeypatch.setattr(snapshot, "BATCH_BYTES", 1 << 11)
    lab.options = replace(lab.options, max_rows=10_000)

    def count(step: str, work: Work) -> None:
        nonlocal batches
        batches += step == "extracted" and work.tabela == "venda"

    def blocks() -> int:
        # A merged part keeps the number of the last block that it is made of.
        ((last,),) = lab.query(
            "SELECT max(max_block_number) FROM system.parts WHERE active AND database = 'vendas_raw' AND table = 'venda'"
        )
        return int(last)

    before = blocks()
    lab.move(planned(lab), lab.engine(observe=count))
    assert batches > 2 * BATCHES_AT_ONCE
    assert blocks() - before <= -(-batches // BATCHES_AT_ONCE)
    lab.assert_equal()


def test_a_piece_that_fails_ends_the_task_and_the_others_stand(history: Lab) -> None:
    lab = history
    verified: list[Work] = []

    def fail(step: str, work: Work) -> None:
        if step == "verified":
            verified.append(work)
            if len(verified) == 3:
                raise VerificationError("the third piece is wrong")

    plan = planned(lab)
    with pytest.raises(VerificationError, match="the third piece is wrong"):
        lab.move(plan, lab.engine(observe=fail))
    recorded = lab.query("SELECT count(), sum(rows) FROM vendas_dw.cargas WHERE run_id = 'test__2'")[0]
    assert 2 <= recorded[0] < 10
    assert lab.query("SELECT count() FROM vendas_dw.venda") == [(recorded[1],)]
    assert lab.query("SELECT count() FROM system.tables WHERE startsWith(name, 'stage__')") == [(0,)]
    lab.move(plan, try_number=2)
    lab.assert_equal()


@pytest.fixture(scope="module")
def movers() -> Iterator[Movers]:
    with Movers() as running:
        yield running


@pytest.mark.parametrize("step", STEPS)
def test_a_task_that_dies_with_two_pieces_under_way_loses_nothing(
    history: Lab, movers: Movers, step: str
) -> None:
    lab = history
    plan = planned(lab)
    running = movers.start(lab, Death(step, "venda", nth=3), planned=plan)
    assert running.wait() < 0
    there, claimed = (
        lab.query(text)[0][0]
        for text in (
            "SELECT count() FROM vendas_dw.venda",
            "SELECT sum(rows) FROM vendas_dw.cargas WHERE tabela = 'venda' AND kind = 'window'",
        )
    )
    assert there >= claimed
    moved = lab.move(plan, try_number=2)
    assert moved["venda"] == 1000 - claimed
    lab.assert_equal()
