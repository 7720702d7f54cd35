"""How the rows are found that the source has deleted: by which means, of which table, and why.

A copy compares a table whole, and so finds them by itself. A window and a scan read what is there. For their tables a run
reads a log that triggers write (`delete_log.py`), or compares all keys, in the snapshot that it reads anyway; what neither
finds, reconciliation does. A key that the warehouse has and the snapshot has not becomes a
tombstone of the snapshot's version. Like any row it loses against a newer version and wins over an older one, wherever and
whenever it is published. So it does not matter which run comes first, or whether a key comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from include.mirror.spec import TableSpec

COMPARED = 1_000_000
"""Up to how many rows of a table all keys are compared in each run, by default."""


class Means(NamedTuple):
    """By what deleted rows are found: `log`, `keys` or `copy`, each run; by `reconciliation`; or `nothing`, and then they
    are kept. And why so."""

    by: str
    reason: str


def means(spec: TableSpec, rows: int, limit: int) -> Means:
    """Return how deleted rows of a table are found.

    `rows` is how many the warehouse has of it, `limit` up to how many keys are compared in each run without a
    declaration that says so, 0 for none.
    """
    if spec.way == "copy":
        return Means("copy", "a copy compares all rows")
    if spec.log is not None:
        return Means("log", "triggers write deleted keys into a log of the source")
    if spec.deletes == "keep":
        return Means("nothing", 'the declaration says deletes="keep"')
    if spec.deletes == "keys":
        return Means("keys", 'the declaration says deletes="keys"')
    unused = f"; its log in the source is not used: {spec.log_unused}" if spec.log_unused else ""
    if is_small(spec, rows, limit):
        return Means("keys", f"each run compares all keys of up to {limit} rows{unused}")
    known = _known(spec, rows)
    return Means(
        "reconciliation",
        f"it has about {known} rows, and each run compares all keys of up to {limit} only; a log in the source (python -m "
        f'include.mirror delete-log) or deletes="keys" in the declaration finds them in each run{unused}',
    )


def is_small(spec: TableSpec, rows: int, limit: int) -> bool:
    """Return whether a table is one whose keys are looked at in each run. `rows` and `limit` are those of `means`."""
    return bool(limit) and _known(spec, rows) <= limit


def _known(spec: TableSpec, rows: int) -> int:
    # The warehouse counts all versions of its rows, so the source's estimate is the better one.
    return rows if spec.rows is None else spec.rows


def detached(spec: TableSpec, rows: int, limit: int) -> str:
    """Return what is to be said of the partitions that a table has lost: empty where there are none, or where their rows
    are found like other deleted ones. `rows` and `limit` are those of `means`."""
    count = len(spec.detached)
    if not count or means(spec, rows, limit).by in ("log", "keys"):
        return ""
    return f"{count} of its partitions detached or dropped, whose rows stay in the warehouse"
