"""What a run has done, in one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from include.mirror.batch import Batch
from include.mirror.plan import Read, Reread
from include.mirror.summary import brief, summary
from include.mirror.window import Window

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
REREAD = Reread((), 0, 0)


def read(table: str, reread: Reread | None = None) -> Read:
    return Read(Window(table, NOON, NOON + timedelta(minutes=2)), reread)


def test_rows_what_was_read_again_and_the_lag() -> None:
    planned = [
        Batch(uuid4(), ((read("venda"), read("venda", REREAD)), (read("item_venda", REREAD),))),
        Batch(uuid4(), ((read("pais"),),)),
    ]
    states: list[dict[str, Any]] = [{"lag_seconds": 4.2}, {"lag_seconds": 40.4}, {"lag_seconds": None}]
    assert summary([{"venda": 3, "pais": 0}, {"venda": 9, "item_venda": 1030}], planned, states) == {
        "resumo": "rows: item_venda 1,030, venda 12 · read again: item_venda, venda · 40 s behind",
        "rows": 1042,
        "read_again": 2,
        "lag_seconds": 40.4,
    }


def test_a_run_without_anything_says_so() -> None:
    assert summary([], [], []) == {"resumo": "no new row", "rows": 0, "read_again": 0}


def test_many_tables_have_a_short_name() -> None:
    names = [f"tabela_{number}" for number in range(15)]
    assert brief(names) == "tabela_0, tabela_1, tabela_2, tabela_3 and 11 more"
    reads = tuple(read(name) for name in names)
    assert str(Batch(uuid4(), (reads,))) == "15 reads of tabela_0 and 14 more tables"
    assert str(Batch(uuid4(), (reads[:2],))) == "2 reads of tabela_0 and tabela_1"
