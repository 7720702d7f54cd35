"""Two movers of one task: what one of them leaves undone, the other does."""

from __future__ import annotations

from threading import Event

import pytest

from include.mirror.errors import NoSnapshotError
from include.mirror.turns import Turn, overlap


def test_a_pass_that_finds_a_table_locked_is_left_to_the_other() -> None:
    began, refused = Event(), Event()

    def first(works: int) -> list[int]:
        began.set()
        # An ALTER TABLE would wait for this pass, and the other mover's snapshot for the ALTER TABLE.
        assert refused.wait(60)
        return [works]

    def second(works: int) -> list[int]:
        assert began.wait(60)
        refused.set()
        raise NoSnapshotError("locked")

    assert sorted(overlap(Turn(), range(5), [first, second])) == [0, 1, 2, 3, 4]


def test_a_table_that_is_locked_for_both_is_an_error() -> None:
    moved: list[int] = []

    def locked(works: int) -> list[int]:
        if works:
            raise NoSnapshotError(f"locked for {works}")
        moved.append(works)
        return [works]

    with pytest.raises(NoSnapshotError, match="locked for"):
        overlap(Turn(), range(5), [locked, locked])
    assert moved == [0]
