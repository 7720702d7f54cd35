"""What a run has done, in one line and in numbers, for the list of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from include.mirror.batch import Batch
from include.mirror.plan import Read

NAMED = 4
"""How many tables a text names at most."""


def brief(names: Iterable[str]) -> str:
    """Return names as a short text: the first four, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def summary(
    moved: Iterable[Mapping[str, int]], planned: Iterable[Batch], states: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the text `resumo` and the numbers `rows`, `read_again` (windows) and `lag_seconds`.

    `moved` is what `move_batch` returned for each batch, `states` are the rows of the view `estado`. The lag is that of the
    table that is furthest behind; None if no table is covered yet.
    """
    rows: Counter[str] = Counter()
    for batch in moved:
        rows.update(batch)
    again = Counter(
        read.tabela for batch in planned for read in batch.reads if isinstance(read, Read) and read.reread
    )
    lag = max((row["lag_seconds"] for row in states if row["lag_seconds"] is not None), default=None)
    most = [f"{name} {count:,}" for name, count in rows.most_common() if count]
    parts = [f"rows: {brief(most)}" if most else "no new row"]
    if again:
        parts.append(f"read again: {brief(sorted(again))}")
    if lag is not None:
        parts.append(f"{lag:.0f} s behind")
    numbers = {"rows": rows.total(), "read_again": again.total(), "lag_seconds": lag}
    return {
        "resumo": " · ".join(parts),
        **{name: value for name, value in numbers.items() if value is not None},
    }
