"""Groups reads into passes, which share one snapshot, and passes into batches, which one task moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter

from include.mirror.plan import Read, Rebuild, Scan, Sweep, Work
from include.mirror.window import Window


@dataclass(frozen=True)
class Batch:
    """The work of one task: passes, moved one after the other, each in its own snapshot.

    The other fields describe the source and the warehouse at planning:

    - `timeline`: the source's timeline, 0 if unknown.
    - `built`: for each rebuilt table, the version of the snapshot that it was rebuilt from.
    - `behind`: when the oldest open transaction had begun, None if unknown. No window finds a row that is written later
      with an earlier time.
    - `planned_at`: the source's clock, None if unknown.
    - `idle`: True if planning has seen nothing to read.
    """

    plan: UUID
    passes: tuple[tuple[Work, ...], ...]
    timeline: int = 0
    built: Mapping[str, int] = field(default_factory=dict)
    behind: datetime | None = None
    planned_at: datetime | None = None
    idle: bool = False

    @property
    def reads(self) -> list[Work]:
        """All reads of all passes."""
        return [read for reads in self.passes for read in reads]

    @property
    def tables(self) -> set[str]:
        """The names of all tables that the batch reads."""
        return {read.tabela for read in self.reads}

    @property
    def rebuilds(self) -> bool:
        """Whether the batch rebuilds tables. Such a batch has no other reads."""
        return any(isinstance(read, Rebuild) for read in self.reads)

    def __str__(self) -> str:
        tables = sorted(self.tables)
        listed = f"{tables[0]} and {len(tables) - 1} more tables" if len(tables) > 2 else " and ".join(tables)
        return f"{len(self.reads)} reads of {listed}"


_adapter = TypeAdapter(Batch)


def dump(batch: Batch) -> object:
    """Return the batch as JSON values, to pass it from task to task."""
    return _adapter.dump_python(batch, mode="json")


def load(value: object) -> Batch:
    """Return the batch from the JSON values of `dump`."""
    return _adapter.validate_python(value)


def group(
    reads: Sequence[Work],
    split: Callable[[Window], Sequence[Window]],
    plan: UUID,
    tasks: int,
    is_small: Callable[[Work], bool] = lambda _work: False,
) -> list[Batch]:
    """Spread reads over at most `tasks` batches.

    Small reads share one pass, and so one snapshot. A window that `split` cuts becomes one pass for each piece, so that no
    snapshot is held longer than one piece takes, and a killed task loses at most one piece. Re-reads are not split: they
    move only the rows of a few transactions. A read of a whole table (a first scan, a copy, a comparison of all keys) is a
    pass of its own unless `is_small` returns True for it. A rebuild always is a pass of its own.
    """
    together: list[Work] = []
    pieces: list[tuple[Work, ...]] = []
    for read in reads:
        if not isinstance(read, Read):
            known = isinstance(read, Sweep) or (isinstance(read, Scan) and read.xmin is not None)
            if known or (is_small(read) and not isinstance(read, Rebuild)):
                together.append(read)
            else:
                pieces.append((read,))
            continue
        windows = [read.window] if read.reread else split(read.window)
        if len(windows) == 1:
            together.append(read)
        else:
            pieces += [(Read(window),) for window in windows]
    passes = [tuple(together), *pieces] if together else pieces
    count = min(tasks, len(passes))
    return [Batch(plan, tuple(passes[first::count])) for first in range(count)]
