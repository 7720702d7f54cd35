"""How deleted rows of a table are found, with the reason."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from include.mirror.deletes import delete_method, detached


def spec(**given: Any) -> Any:
    nothing = {"deletes": None, "rows": None, "detached": (), "log": None, "log_unused": ""}
    return SimpleNamespace(**{"way": "scan", **nothing, **given})


@pytest.mark.parametrize(
    ("given", "rows", "limit", "by", "reason"),
    [
        ({}, 0, 100, "keys", "each run compares all keys of up to 100 rows"),
        ({"rows": 100}, 3, 100, "keys", "up to 100 rows"),
        ({}, 101, 100, "reconciliation", "it has about 101 rows"),
        ({"rows": 3}, 101, 100, "keys", "up to 100 rows"),
        ({"rows": 101}, 0, 100, "reconciliation", "it has about 101 rows"),
        ({"rows": 101, "deletes": "keys"}, 0, 100, "keys", 'deletes="keys"'),
        ({"deletes": "keep"}, 0, 100, "nothing", 'deletes="keep"'),
        ({}, 0, 0, "reconciliation", "each run compares all keys of up to 0 only"),
        ({"deletes": "keys"}, 0, 0, "keys", 'deletes="keys"'),
        ({"way": "copy", "rows": 10**9}, 0, 100, "copy", "compares all rows"),
        ({"way": "copy", "log": object()}, 0, 100, "copy", "compares all rows"),
        ({"log": object()}, 3, 100, "log", "triggers write deleted keys"),
        ({"log_unused": "a trigger is off"}, 3, 100, "keys", "is not used: a trigger is off"),
        ({"log_unused": "a trigger is off"}, 101, 100, "reconciliation", "is not used: a trigger is off"),
    ],
)
def test_by_what_and_why(given: dict[str, Any], rows: int, limit: int, by: str, reason: str) -> None:
    found = delete_method(spec(**given), rows, limit)
    assert found.by == by
    assert reason in found.reason


def test_partitions_that_are_gone_are_told_of_while_their_rows_stay() -> None:
    gone = spec(detached=(7, 8), deletes="keep")
    assert (
        detached(gone, 0, 100) == "2 of its partitions detached or dropped, whose rows stay in the warehouse"
    )
    assert detached(spec(detached=(7, 8)), 0, 100) == ""
    assert detached(spec(deletes="keep"), 0, 100) == ""
