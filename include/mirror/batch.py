"""Which reads travel together: in one snapshot, and in one task."""

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
    """What one task moves: passes one after the other, each of them one snapshot.

    `timeline` is that of the source when it was planned, 0 where nobody knows. `built` holds, of tables that were built
    anew before that, the version of the snapshot that they were built from. `behind` is when the oldest transaction had
    begun that was open when planning began: earlier times of later writers are in no window. `planned_at`
    is the source's clock at that moment. None where nobody knows.
    """

    plan: UUID
    passes: tuple[tuple[Work, ...], ...]
    timeline: int = 0
    built: Mapping[str, int] = field(default_factory=dict)
    behind: datetime | None = None
    planned_at: datetime | None = None

    @property
    def reads(self) -> list[Work]:
        """All reads of all passes."""
        return [read for reads in self.passes for read in reads]

    @property
    def tables(self) -> set[str]:
        """The names of the tables that they read."""
        return {read.tabela for read in self.reads}

    @property
    def rebuilds(self) -> bool:
        """Whether it builds tables anew, and so does nothing else."""
        return any(isinstance(read, Rebuild) for read in self.reads)

    def __str__(self) -> str:
        tables = sorted(self.tables)
        listed = ", ".join(tables[:4]) + (f" and {len(tables) - 4} more" if len(tables) > 4 else "")
        return f"{len(self.reads)} reads of {listed}"


_adapter = TypeAdapter(Batch)


def dump(batch: Batch) -> object:
    """Return the batch as JSON values, to hand it from task to task."""
    return _adapter.dump_python(batch, mode="json")


def load(value: object) -> Batch:
    """Return what `dump` was given."""
    return _adapter.validate_python(value)


def group(
    reads: Sequence[Work],
    split: Callable[[Window], Sequence[Window]],
    plan: UUID,
    tasks: int,
    is_small: Callable[[Work], bool] = lambda _work: False,
) -> list[Batch]:
    """Spread reads over at most `tasks` batches.

    What is small travels in one pass, in one snapshot. What `split` cuts becomes one pass per piece, so that no
    snapshot is held for longer than a piece takes and a killed task loses one piece at most. Re-reads are not
    split: what they move is what a transaction or two has left behind. A table that is read whole, for its first scan
    or to be compared, or of which all keys are, is a pass of its own unless `is_small` says that it is known to be small;
    one that is built anew always is.
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
