"""When a source has gone back to a position before the one that was read."""

from __future__ import annotations

import pytest

from include.mirror.source.position import Position

BEFORE = Position(flushed=0x1_0000_0300, timeline=2, next_xid=900, recovered=0x1_0000_0100)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (BEFORE, None),
        (Position(0x1_0000_0301, 2, 901, BEFORE.recovered), None),
        # Restarted: without a recovery, or with one that reached everything on disk.
        (Position(0x1_0000_0400, 2, 900, 0), None),
        (Position(0x1_0000_0400, 2, 900, 0x1_0000_0300), None),
        # Promoted after it had received everything.
        (Position(0x1_0000_0400, 3, 900, 0x1_0000_0310), None),
        (Position(0x1_0000_02FF, 2, 900, 0), "it is at 1/2FF of timeline 2 now"),
        (Position(0x1_0000_0200, 3, 900, 0x1_0000_0200), "it is at 1/200 of timeline 3 now"),
        (Position(0x2_0000_0000, 3, 990, 0x1_0000_02FF), "it came up at 1/2FF after a recovery"),
        (Position(0x2_0000_0000, 2, 990, 0x1_0000_0200), "it came up at 1/200 after a recovery"),
        (Position(0x2_0000_0000, 1, 990, 0), "it is on timeline 1 now"),
        (Position(0x2_0000_0000, 2, 899, 0), "its next transaction has id 899 now, and had 900"),
    ],
)
def test_where_a_source_has_gone_back(now: Position, why: str | None) -> None:
    assert now.lost(BEFORE) == why


def test_a_ledger_of_before_that_noted_nothing_refuses_nothing() -> None:
    assert Position(100, 1, 5, 50).lost(Position()) is None
