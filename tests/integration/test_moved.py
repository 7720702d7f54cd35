"""What a task of a run has moved, by table: the asset events of the tables are made from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.mirror.errors import RefusedError
from include.mirror.plan import Work
from include.mirror.run import move_batch, moved_by
from tests.lab import Lab


def test_a_table_without_rows_is_not_among_them(lab: Lab) -> None:
    lab.run()
    start = lab.now()
    with lab.connect() as connection:
        lab.sell(connection)
        lab.sell(connection)
    end = lab.now()
    planned = lab.plan((start, end))
    lab.move(planned)
    moved = [one for batch in planned for one in moved_by(lab.engine(), batch)]
    assert sorted((one.tabela, one.rows) for one in moved) == [("item_venda", 2), ("venda", 2)]
    assert all(one.inicio <= start and one.fim == end for one in moved)
    [newest] = lab.query("SELECT max(version) FROM vendas_raw.cargas")
    assert max(one.version for one in moved) <= newest[0]
    assert moved[0].as_json()["fim"] == end.isoformat()


def test_deleted_rows_count_and_a_table_read_whole_has_no_start(lab: Lab) -> None:
    lab.mirror_only("produto")
    planned = lab.plan((lab.now(), lab.now()))
    lab.move(planned)
    [first] = [one for batch in planned for one in moved_by(lab.engine(), batch)]
    assert first.rows == 2
    lab.execute("DELETE FROM produto WHERE produto_id = 2")
    lab.options = replace(lab.options, compare_keys=1000)
    planned = lab.plan((lab.now(), lab.now()))
    lab.move(planned)
    [deleted] = [one for batch in planned for one in moved_by(lab.engine(), batch)]
    assert (deleted.tabela, deleted.rows, deleted.as_json()["inicio"]) == ("produto", 1, None)


def test_what_a_failed_try_has_moved_is_in_the_next_try(lab: Lab) -> None:
    def die(step: str, _work: Work) -> None:
        if step == "recorded":
            raise RuntimeError("this try ends here")

    lab.run()
    with lab.connect() as connection:
        lab.sell(connection)
    planned = lab.plan((lab.now(), lab.now()))
    with pytest.raises(RuntimeError, match="this try ends here"):
        lab.move(planned, lab.engine(observe=die))
    again = [move_batch(lab.engine(), batch, "again", 2) for batch in planned]
    assert not any(rows for batch in again for rows in batch.values())
    moved = [one for batch in planned for one in moved_by(lab.engine(), batch)]
    assert [(one.tabela, one.rows) for one in moved] == [("item_venda", 1), ("venda", 1)]


def test_a_table_that_was_set_aside_takes_no_event_from_the_others(lab: Lab) -> None:
    lab.run()
    with lab.connect() as connection:
        lab.sell(connection)
    lab.execute("ALTER TABLE pais RENAME COLUMN pais TO nome")
    planned = lab.plan((lab.now(), lab.now()))
    with pytest.raises(RefusedError):
        lab.move(planned)
    moved = {one.tabela for batch in planned for one in moved_by(lab.engine(), batch)}
    assert moved == {"venda", "item_venda"}
