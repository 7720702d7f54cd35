"""How reads are grouped into passes and batches."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from include.mirror.batch import Batch, dump, group, load
from include.mirror.plan import NotedPrepared, Prepared, Read, Rebuild, Reread
from include.mirror.window import Window

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def window(tabela: str, minutes: int = 2) -> Window:
    return Window(tabela, EPOCH, EPOCH + timedelta(minutes=minutes))


def in_hours(whole: Window) -> list[Window]:
    pieces = max(1, int((whole.fim - whole.inicio) / timedelta(hours=1)))
    step = (whole.fim - whole.inicio) / pieces
    return [
        Window(whole.tabela, whole.inicio + n * step, whole.inicio + (n + 1) * step) for n in range(pieces)
    ]


def test_small_windows_share_one_snapshot_in_one_task() -> None:
    reads = [Read(window(name)) for name in ("pais", "cidade", "venda")]
    (batch,) = group(reads, in_hours, uuid4(), tasks=4)
    assert batch.passes == (tuple(reads),)


def test_pieces_of_a_large_window_are_spread_and_each_has_its_snapshot() -> None:
    reads = [Read(window("pais")), Read(window("venda", 600))]
    batches = group(reads, in_hours, uuid4(), tasks=4)
    assert len(batches) == 4
    assert all(len(together) == 1 for batch in batches for together in batch.passes)
    pieces = sorted(
        read.window.inicio
        for batch in batches
        for read in batch.reads
        if isinstance(read, Read) and read.tabela == "venda"
    )
    assert pieces == [EPOCH + n * timedelta(hours=1) for n in range(10)]


def test_rereads_are_not_split() -> None:
    reads = [Read(window("venda", 600), Reread((uuid4(),), 7, 1))]
    assert [batch.reads for batch in group(reads, in_hours, uuid4(), tasks=4)] == [reads]


def test_a_batch_survives_its_way_through_json() -> None:
    noted = NotedPrepared(Prepared(7, "gid"), EPOCH)
    reread = Reread((uuid4(),), 2**40, 2**62, (noted,), frozenset({Prepared(8, "other")}), EPOCH)
    batch = Batch(uuid4(), ((Read(window("venda"), reread), Read(Window("pais", EPOCH, EPOCH, 3, None))),))
    assert load(dump(batch)) == batch


def test_a_table_that_is_built_anew_is_a_pass_of_its_own_however_small() -> None:
    reads = [Rebuild("pais"), Rebuild("venda")]
    batches = group(reads, in_hours, uuid4(), tasks=1, is_small=lambda _name: True)
    assert [batch.passes for batch in batches] == [((reads[0],), (reads[1],))]
    batch = replace(batches[0], timeline=3, built={"pais": 2**60})
    assert load(dump(batch)) == batch
