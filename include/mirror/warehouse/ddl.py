"""The statements that create a mirrored table and its view from a spec, and the comments that note their source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from include.mirror import names
from include.mirror.spec import Column, TableSpec
from include.mirror.templates import render


@dataclass(frozen=True)
class Bookkeeping:
    """The names of the two columns that the mirror adds to every table: the row's version, and whether it is deleted."""

    version: str = "version"
    deleted: str = "is_deleted"


def bookkeeping(spec: TableSpec) -> Bookkeeping:
    """Return names for a new table's bookkeeping columns that none of the source's columns has."""
    taken = {column.name for column in spec.columns}
    prefix = ""
    while {prefix + name for name in ("version", "is_deleted")} & taken:
        prefix = "mirror_" + prefix
    return Bookkeeping(f"{prefix}version", f"{prefix}is_deleted")


def storage_ddl(spec: TableSpec, storage: str, version: int = 0) -> str:
    """Return the CREATE TABLE of a mirrored table. `version` is that of the snapshot it is rebuilt from, 0 for none."""
    own = bookkeeping(spec)
    return render(
        "create_storage",
        table=names.ch(storage, spec.name),
        columns=[
            {
                "name": names.ch(column.name),
                "type": column.warehouse_type,
                "comment": names.ch_text(comment(column)),
            }
            for column in spec.columns
        ],
        version=names.ch(own.version),
        deleted=names.ch(own.deleted),
        partition=partition(spec),
        order=[names.ch(name) for name in spec.order],
        comment=names.ch_text(with_built(table_comment(spec), version)),
    )


def partition(spec: TableSpec) -> str:
    """Return the partition expression, empty for a table with a single partition."""
    if not spec.partition_width or spec.integer_key is None:
        return ""
    return f"intDiv({names.ch(spec.integer_key)}, {spec.partition_width})"


def view_ddl(spec: TableSpec, storage: str, views: str, stage: str | None = None) -> str:
    """Return the CREATE VIEW of the table's current rows, or of all rows of `stage`, in which each key is there once."""
    table = names.ch(storage, stage or spec.name)
    return render(
        "create_view",
        view=names.ch(views, spec.name),
        columns=[
            f"{table}.{names.ch(column.name)}" if names.is_misread(column.name) else names.ch(column.name)
            for column in spec.columns
        ],
        table=table,
        final=stage is None,
    )


_TABLE_COMMENT = re.compile(
    r".* \(oid (?P<oid>\d+), attributes up to (?P<attributes>\d+)(?:, partitions (?P<partitions>[\d ]+))?"
    r"(?:, detached (?P<detached>[\d ]+))?(?:, files (?P<files>[0-9a-f]+) since (?P<since>\d+) by (?P<change>\d+))?\)",
    re.DOTALL,
)


@dataclass(frozen=True)
class TableIdentity:
    """Which table of the source a warehouse table mirrors, as noted in its comment.

    `oid`, the highest number in `attributes`, and the oids of the known `partitions`. `detached` are the oids of partitions
    that are gone; their rows may still be in the warehouse. For a table with windows, `files` identifies its files as they
    were at the transaction id `since`; it is empty otherwise. `change` is the attribute number of the change column, 0 for
    none.
    """

    oid: int
    attributes: int
    partitions: frozenset[int] = frozenset()
    files: str = ""
    since: int = 0
    detached: frozenset[int] = frozenset()
    change: int = 0


def table_comment(spec: TableSpec) -> str:
    """Return the comment of a warehouse table: which table of the source it mirrors."""
    attributes = max(spec.attributes, *(column.number for column in spec.columns))
    partitions = f", partitions {' '.join(map(str, spec.partitions))}" if spec.partitions else ""
    detached = f", detached {' '.join(map(str, spec.detached))}" if spec.detached else ""
    files = f", files {spec.files} since {spec.since} by {spec.change_number}" if spec.files else ""
    return f"{spec.source_name} (oid {spec.oid}, attributes up to {attributes}{partitions}{detached}{files})"


def read_table_comment(text: str) -> TableIdentity | None:
    """Return the identity from a table's comment, None if the comment is not the mirror's."""
    match = _TABLE_COMMENT.fullmatch(found["comment"] if (found := _BUILT.fullmatch(text)) else text)
    if match is None:
        return None
    partitions = frozenset(map(int, (match["partitions"] or "").split()))
    return TableIdentity(
        int(match["oid"]),
        int(match["attributes"]),
        partitions,
        match["files"] or "",
        int(match["since"] or 0),
        frozenset(map(int, (match["detached"] or "").split())),
        int(match["change"] or 0),
    )


_BUILT = re.compile(r"(?P<comment>.*\)), built (?P<version>\d+)", re.DOTALL)


def built(text: str) -> int:
    """Return the version of the snapshot that a table with this comment was rebuilt from, 0 for none."""
    match = _BUILT.fullmatch(text)
    return int(match["version"]) if match else 0


def with_built(text: str, version: int) -> str:
    """Return a table's comment with the version of the snapshot it was rebuilt from added; unchanged for 0."""
    return f"{text}, built {version}" if version else text


def is_mirrored_table(text: str) -> bool:
    """Return whether the mirror has created the table with this comment."""
    return read_table_comment(text) is not None


_COMMENT = re.compile(
    r"(?P<type>.*) \(attribute (?P<number>\d+)(?:, printed as (?P<meaning>[0-9a-f.]+))?(?P<out>, left out)?\)",
    re.DOTALL,
)


class ColumnIdentity(NamedTuple):
    """Which column of the source a warehouse column mirrors, as noted in its comment.

    A column that is `left_out` gets no more values. `meaning` is the text of its Meaning, None if none was noted.
    """

    type: str
    number: int
    left_out: bool
    meaning: str | None = None


def comment(column: Column) -> str:
    """Return the comment of a warehouse column: the source column's type and attribute number."""
    meaning = f", printed as {text}" if (text := column.meaning.text) else ""
    return f"{column.source.declared} (attribute {column.number}{meaning})"


def left_out_comment(identity: ColumnIdentity) -> str:
    """Return the comment of a column that the declaration leaves out now."""
    return f"{identity.type} (attribute {identity.number}, left out)"


def is_mirrored(text: str) -> bool:
    """Return whether a column with this comment gets values from the source."""
    identity = read_comment(text)
    return identity is not None and not identity.left_out


def read_comment(text: str) -> ColumnIdentity | None:
    """Return the identity from a column's comment, None if the comment is not the mirror's."""
    match = _COMMENT.fullmatch(text)
    if match is None:
        return None
    return ColumnIdentity(match["type"], int(match["number"]), bool(match["out"]), match["meaning"])
