"""Parts of messages: names of tables and columns, statements to run, and lines of a declaration to write."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from include.mirror import names
from include.mirror.errors import SchemaError
from include.mirror.relation import Relation, SourceColumn

KINDS = {
    "r": "a table",
    "p": "a partitioned table",
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
}
"""What `relkind` means, in words."""


def label(relation: Relation) -> str:
    """Return the table's name in PostgreSQL, for messages."""
    return f"{relation.schema}.{relation.name}"


def quoted(relation: Relation) -> str:
    """Return the table's name in PostgreSQL, for a statement that can be run."""
    return names.pg(relation.schema, relation.name)


def quoted_columns(columns: Iterable[str]) -> str:
    """Return column names for a statement."""
    return ", ".join(names.pg(column) for column in columns)


def column_of(relation: Relation, name: str) -> SourceColumn:
    """Return the column with this name. Raise SchemaError if there is none."""
    for column in relation.columns:
        if column.name == name:
            return column
    known = [column.name for column in relation.columns]
    raise SchemaError(f"{label(relation)} has no column {name!r}{did_you_mean(name, known)}")


def did_you_mean(name: str, known: Iterable[str], *, all_names: bool = True) -> str:
    """Return the end of a message that offers the most similar known name. If none is similar, it lists all names, unless
    `all_names` is False."""
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    return f"; it has {listed(known)}" if known and all_names else ""


def call(name: str, **options: object) -> str:
    """Return a line for a declaration, such as `Table("filial.Pedido", only=True)`."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(
        [f'Table("{escaped}"', *(f", {option}={value!r}" for option, value in options.items()), ")"]
    )


def listed(parts: Iterable[object]) -> str:
    """Return the parts joined by commas."""
    return ", ".join(map(str, parts))
