"""Large windows: split by rows, or by key if one transaction is larger than a piece. The next run reads missing pieces."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from include.mirror.batch import Batch
from include.mirror.plan import Read, Work
from include.mirror.window import Window
from tests.lab import Lab


def pieces_of_sales(planned: list[Batch]) -> list[Window]:
    return [
        read.window
        for batch in planned
        for read in batch.reads
        if isinstance(read, Read) and read.tabela == "venda"
    ]


def test_one_transaction_of_a_million_rows_is_split_and_resumes(lab: Lab) -> None:
    lab.run()
    lab.options = replace(lab.options, max_rows=200_000, tasks=2)
    lab.execute(
        "INSERT INTO venda (cliente_id, valor_total) SELECT 1, n / 100.0 FROM generate_series(1, 1000000) AS n"
    )
    end = lab.now()
    planned = lab.plan((end - timedelta(seconds=30), end))
    windows = [read.window for batch in planned for read in batch.reads if isinstance(read, Read)]
    keyed = [window for window in windows if window.key_from is not None]
    assert len(keyed) == 4
    recorded = []

    def stop_half_way(step: str, window: Work) -> None:
        if step == "recorded":
            recorded.append(window)
        if step == "staged" and len([w for w in recorded if w.tabela == "venda"]) >= 2:
            raise ConnectionError("the worker goes away")

    with pytest.raises(ConnectionError):
        lab.move(planned, lab.engine(observe=stop_half_way))
    there = lab.query("SELECT count() FROM vendas_dw.venda")[0][0]
    assert 0 < there < 1_000_000
    # That run is given up. The next one reads only the missing pieces.
    end = lab.now()
    moved = lab.run(end - timedelta(microseconds=1), end)
    assert moved["venda"] == 1_000_000 - there
    assert lab.query("SELECT count(), sum(valor_total), uniqExact(venda_id) FROM vendas_dw.venda") == [
        (1_000_000, pytest.approx(5_000_005_000), 1_000_000)
    ]


def test_history_is_split_by_time(lab: Lab) -> None:
    lab.options = replace(lab.options, max_rows=100, tasks=3)
    lab.execute(
        "INSERT INTO venda (valor_total, updated_at)"
        " SELECT n, timestamp '2020-01-01' + n * interval '1 hour' FROM generate_series(1, 1000) AS n"
    )
    end = lab.now()
    planned = lab.plan((end - timedelta(seconds=1), end))
    pieces = pieces_of_sales(planned)
    assert len(planned) == 3
    assert len(pieces) == 10
    assert all(window.key_from is None for window in pieces)
    lab.move(planned)
    lab.assert_equal()


def test_a_small_rest_stays_with_the_piece_before_it(lab: Lab) -> None:
    lab.options = replace(lab.options, max_rows=80)
    lab.execute(
        "INSERT INTO venda (valor_total, updated_at)"
        " SELECT n, timestamp '2020-01-01' + n * interval '1 hour' FROM generate_series(1, 170) AS n"
    )
    end = lab.now()
    planned = lab.plan((end - timedelta(seconds=1), end))
    pieces = pieces_of_sales(planned)
    assert len(pieces) == 2
    assert lab.move(planned)["venda"] == 170


def test_rows_around_the_end_of_summer_time_are_split_by_time_not_by_microseconds(lab: Lab) -> None:
    """Near the change of the clocks, the range of local times begins an hour before the window."""
    lab.zone = ZoneInfo("America/Sao_Paulo")
    lab.execute("TRUNCATE pais, cidade, cliente, produto, venda, item_venda")
    lab.options = replace(lab.options, max_rows=20)
    lab.execute(
        "INSERT INTO venda (valor_total, updated_at)"
        " SELECT n, timestamp '2019-02-16 20:00' + n * interval '3 min' FROM generate_series(1, 200) AS n"
    )
    end = lab.now()
    planned = lab.plan((end - timedelta(seconds=1), end))
    pieces = pieces_of_sales(planned)
    assert len(pieces) <= 15
    lab.move(planned)
    lab.assert_equal()
