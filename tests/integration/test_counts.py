"""Keys that the warehouse lacks are found at the end of a run, and other differences are not reported as such."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from include.mirror import state
from include.mirror.counts import Count
from include.mirror.declaration import Table
from include.mirror.errors import WrongRowsError
from include.vendas.tables import VENDAS
from tests.lab import Lab


def counted(lab: Lab) -> dict[str, Count]:
    """Return the counts at the end of a run."""
    return state.note(lab.engine(), "run")


def read_state(lab: Lab, table: str) -> dict[str, Any]:
    (found,) = [row for row in state.read(lab.engine()) if row["tabela"] == table]
    return found


def take_away(lab: Lab, keys: str) -> None:
    """Hide these sales in the warehouse with wrong tombstones."""
    client = lab.clickhouse.client()
    client.command(
        "INSERT INTO vendas_raw.venda SELECT * REPLACE (1 AS is_deleted) FROM vendas_raw.venda FINAL"
        f" WHERE venda_id IN ({keys})"
    )
    client.close()


@pytest.fixture
def sold(lab: Lab) -> Lab:
    """Three sales that have been moved."""
    lab.options = replace(lab.options, compare_keys=1000)
    with lab.connect() as connection:
        for _ in range(3):
            lab.sell(connection)
    lab.run()
    return lab


def test_keys_that_are_gone_from_the_warehouse_fail_the_run_and_reconciliation_brings_them_back(
    sold: Lab,
) -> None:
    lab = sold
    assert {name: one.lacking for name, one in counted(lab).items()} == dict.fromkeys(VENDAS.names, 0)
    assert read_state(lab, "venda")["lacking"] == 0
    take_away(lab, "1, 2")
    counts = counted(lab)
    assert counts["venda"] == Count(3, 1)
    found = read_state(lab, "venda")
    assert (found["word"], found["lacking"]) == ("differs", 2)
    assert found["reason"] == "the warehouse lacks at least 2 keys that the source has"
    with pytest.raises(
        WrongRowsError,
        match=r"^venda has 3 keys in the source and 1 in the warehouse, and no row is on its way",
    ):
        state.refuse_lacking(counts)
    from tests.integration.test_reconcile import look

    look(lab, "venda")
    counts = counted(lab)
    state.refuse_lacking(counts)
    assert read_state(lab, "venda")["word"] == "equal"


def test_what_is_on_its_way_is_not_counted(sold: Lab) -> None:
    lab = sold
    with lab.connect(autocommit=False) as late:
        lab.sell(late)
        lab.run()
        assert counted(lab) == {}, "a transaction is open that may hold rows of any table"
        late.commit()
    assert "venda" not in counted(lab), "it is owed"
    lab.run()
    assert counted(lab)["venda"] == Count(4, 4)
    with lab.connect() as connection:
        lab.sell(connection)
    assert "venda" not in counted(lab), "a sale is later than what is covered"
    assert read_state(lab, "venda")["lacking"] is None
    lab.run()
    assert counted(lab)["venda"] == Count(5, 5)


def test_what_was_deleted_is_no_loss(sold: Lab) -> None:
    lab = sold
    lab.execute("DELETE FROM item_venda; DELETE FROM venda")
    counts = counted(lab)
    assert counts["venda"] == Count(0, 3)
    state.refuse_lacking(counts)
    assert read_state(lab, "venda")["word"] == "never compared"


def test_a_row_that_came_with_an_old_time_is_reported(sold: Lab) -> None:
    lab = sold
    lab.execute("INSERT INTO pais (pais, updated_at) SELECT 'Chile', min(updated_at) FROM pais")
    lab.run()
    assert counted(lab)["pais"] == Count(3, 2)
    assert read_state(lab, "pais")["word"] == "differs"


@pytest.mark.parametrize("how", ["keep", "large", "scan", "set aside", "being read anew"])
def test_tables_of_which_nothing_can_be_said(sold: Lab, how: str) -> None:
    lab = sold
    if how == "keep":
        # The warehouse may have many more rows than the source. Then the counts show nothing, and hide no other error.
        lab.mirror_only(Table("venda", deletes="keep"))
        take_away(lab, "1")
        assert counted(lab)["venda"] == Count(3, 2)
        return
    if how == "large":
        lab.execute("ANALYZE venda")
        lab.options = replace(lab.options, compare_keys=2)
    elif how == "scan":
        lab.mirror_only(Table("venda", way="scan"))
    elif how == "set aside":
        lab.execute(
            "ALTER TABLE venda ALTER COLUMN updated_at DROP NOT NULL; UPDATE venda SET updated_at = NULL"
        )
        lab.execute("ALTER TABLE venda DISABLE TRIGGER ALL; UPDATE venda SET updated_at = NULL")
    else:
        lab.ledger.forget({"venda": "as a test says"}, lab.now())
    assert "venda" not in counted(lab)
