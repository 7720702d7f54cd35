"""The state of each table in one word, from the view `estado`."""

from __future__ import annotations

from typing import Any

import pytest

from include.mirror import state
from include.mirror.errors import RefusedError
from tests.integration.test_reconcile import DAMAGE, damage, filled, look
from tests.lab import Lab

__all__ = ["filled"]


def read_state(lab: Lab, table: str = "coisa") -> dict[str, Any]:
    """Return the state of one table at the end of a run."""
    state.note(lab.engine(), "run")
    (found,) = [row for row in state.read(lab.engine()) if row["tabela"] == table]
    return found


def test_the_word_follows_what_was_compared(filled: Lab) -> None:
    lab = filled
    found = read_state(lab)
    assert (found["word"], found["compared_at"], found["way"], found["deletes"]) == (
        "never compared",
        None,
        "scan",
        "reconciliation",
    )
    look(lab, "coisa")
    found = read_state(lab)
    assert (found["word"], found["compared_by"]) == (
        "equal",
        "MD5 of every row, summed up in buckets on both sides; the rows of buckets that differ",
    )
    assert found["compared_at"] is not None
    lab.run()
    assert read_state(lab)["word"] == "equal"
    lab.execute("UPDATE coisa SET nome = 'new' WHERE id = 1")
    lab.run()
    found = read_state(lab)
    assert found["word"] == "follows"
    assert 0 <= found["lag_seconds"] < 60
    damage(lab, DAMAGE["altered"][0])
    look(lab, "coisa", only_report=True)
    found = read_state(lab)
    assert (found["word"], found["wrong"], found["repaired"]) == ("differs", 2, 0)
    assert "id = '-7': nome is 'nome 993' in the source and 'other' in the warehouse" in found["reason"]
    look(lab, "coisa")
    found = read_state(lab)
    assert (found["word"], found["wrong"], found["repaired"], found["reason"]) == ("equal", 2, 2, "")


def test_a_table_that_is_set_aside_differs_with_its_reason(filled: Lab) -> None:
    lab = filled
    look(lab, "coisa")
    lab.execute("ALTER TABLE coisa DROP COLUMN valor")
    with pytest.raises(RefusedError):
        lab.run()
    found = read_state(lab)
    assert found["word"] == "differs"
    assert "valor" in found["reason"]
    lab.run(conf={"reconstruir": ["coisa"]})
    lab.run()
    assert read_state(lab)["word"] in ("equal", "follows")


def test_a_table_that_is_read_from_the_start_is_not_equal_any_more(filled: Lab) -> None:
    lab = filled
    look(lab, "coisa")
    damage(lab, "TRUNCATE TABLE vendas_raw.coisa")
    lab.run()
    assert read_state(lab)["word"] == "never compared"


def test_windows_show_how_far_they_are_and_what_is_owed(lab: Lab) -> None:
    lab.run()
    with lab.connect(autocommit=False) as late:
        lab.sell(late)
        lab.run()
        found = read_state(lab, "venda")
        assert (found["word"], found["way"], found["owed"]) == ("never compared", "window", 1)
        late.commit()
    lab.run()
    look(lab, "venda")
    found = read_state(lab, "venda")
    assert (found["word"], found["owed"], found["reason"]) == ("equal", 0, "")
