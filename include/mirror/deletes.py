"""Chooses how a table's deleted rows are found, with the reason.

A copy compares the whole table, and so finds deleted rows by itself. Windows and scans read only rows that are there. For
their tables, a run reads a log that triggers write (`delete_log.py`), or compares all keys, in the same snapshot. If it does
neither, reconciliation finds the deleted rows.

A key that is in the warehouse and not in the snapshot becomes a tombstone with the snapshot's version. Like any row, a
tombstone wins over older versions of the key and loses against newer ones, whichever is published first. So the order of
runs does not matter, and a key may come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from include.mirror.spec import TableSpec

COMPARED = 1_000_000
"""By default, each run compares all keys of tables with up to this many rows."""


class DeleteMethod(NamedTuple):
    """How deleted rows are found, with the reason. `by` is one of:

    - `log`, `keys` or `copy`: in each run.
    - `reconciliation`: only by reconciliation.
    - `nothing`: deleted rows are kept.
    """

    by: str
    reason: str


def delete_method(spec: TableSpec, rows: int, limit: int) -> DeleteMethod:
    """Return how deleted rows of a table are found.

    `rows` is the number of rows in the warehouse. `limit` is the number of rows up to which each run compares all keys of a
    table whose declaration doesn't ask for it; 0 for no table.
    """
    if spec.way == "copy":
        return DeleteMethod("copy", "a copy compares all rows")
    if spec.log is not None:
        return DeleteMethod("log", "triggers write deleted keys into a log of the source")
    if spec.deletes == "keep":
        return DeleteMethod("nothing", 'the declaration says deletes="keep"')
    if spec.deletes == "keys":
        return DeleteMethod("keys", 'the declaration says deletes="keys"')
    unused = f"; its log in the source is not used: {spec.log_unused}" if spec.log_unused else ""
    if is_small(spec, rows, limit):
        return DeleteMethod("keys", f"each run compares all keys of up to {limit} rows{unused}")
    known = _known(spec, rows)
    return DeleteMethod(
        "reconciliation",
        f"it has about {known} rows, and each run compares all keys of up to {limit} only; a log in the source (python -m "
        f'include.mirror delete-log) or deletes="keys" in the declaration finds them in each run{unused}',
    )


def is_small(spec: TableSpec, rows: int, limit: int) -> bool:
    """Return whether each run compares the keys of a table, because it is small. Parameters are as in `delete_method`."""
    return bool(limit) and _known(spec, rows) <= limit


def _known(spec: TableSpec, rows: int) -> int:
    # The source's estimate is better than the warehouse's number, which counts all versions of rows.
    return rows if spec.rows is None else spec.rows


def detached(spec: TableSpec, rows: int, limit: int) -> str:
    """Return a warning about partitions that were detached or dropped in the source and whose rows stay in the warehouse.

    Empty if there are none, or if each run finds their rows like other deleted rows. Parameters are as in `delete_method`.
    """
    count = len(spec.detached)
    if not count or delete_method(spec, rows, limit).by in ("log", "keys"):
        return ""
    return f"{count} of its partitions detached or dropped, whose rows stay in the warehouse"
