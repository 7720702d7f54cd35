"""Writes docs/types.md from the registry."""

from __future__ import annotations

from collections.abc import Iterator

from include.mirror.relation import SourceType
from include.mirror.types import carrier, registry

PRINTED = {
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "bpchar": "char(n)",
    "varchar": "varchar(n)",
    "char": '"char"',
    "varbit": "bit varying(n)",
    "bit": "bit(n)",
}
"""The common names of types whose names in pg_type differ."""

NUMERICS = (
    ("numeric(10,2)", (10, 2), "Up to 18 digits."),
    ("numeric(38,10)", (38, 10), "19 to 76 digits."),
    ("numeric(2,-3)", (2, -3), "A negative scale: zeros before the point."),
    ("numeric(3,5)", (3, 5), "More decimals than digits."),
    ("numeric(100,2)", (100, 2), "More than 76 digits."),
    ("numeric", None, "The text keeps the zeros at the end, which PostgreSQL keeps too."),
)
"""Examples of `numeric`: the declaration, its precision and scale, and a note."""

HEAD = """\
# Types

<!-- Made by `make types` from the registry, include/mirror/types: change that. A test compares this file with it. -->

A column gets the ClickHouse type in this list. If PostgreSQL allows NULL, it gets `Nullable(…)`. Every value arrives
exactly. If the ClickHouse type can't hold a value, the table is set aside. The message names table, column, value and key,
and no row of this read is published.

`c` is the column. "As it is" means that the driver reads PostgreSQL's binary form. "Refused" values set the table aside.

| PostgreSQL | ClickHouse | read | refused, and why | can also be | notes |
|---|---|---|---|---|---|
"""

CHOOSE = """
Every type can also be a `String`. It holds PostgreSQL's own text (`c::text`, with `TimeZone=UTC`, `DateStyle=ISO` and
`IntervalStyle=postgres`), and no value is refused.

## Choose another type

```python
Table("produto", columns={"produto_id": "UInt32", "situacao": "LowCardinality(String)"})
```

- Write the complete ClickHouse type. Without `Nullable(…)`, a NULL in the source is refused.
- Choose a type from the column "can also be", or `String`. Any other type is refused before a row is read, and the message
  lists the possible types.
- Instead of `String`, you can choose `LowCardinality(String)` or `LowCardinality(Nullable(String))`.
- A value that the chosen type can't hold is refused: -1 for `UInt32`, 1.259 for `Decimal(10, 2)`. It is never rounded,
  wrapped or cut.
- An existing table in the warehouse keeps its types, if they are possible types.

## Arrays

An array becomes an `Array(Nullable(T))`; T is the type of its elements in the list above. NULL elements arrive. If you
choose `Array(T)`, NULL elements are refused.
"""

ARRAYS = """\
An array in a key becomes a `String`, because the two servers don't compare arrays in the same way.

These arrays are refused: NULL and a first index other than 1, because ClickHouse has neither; and two dimensions, because
the driver would flatten them without an error. To mirror all of them, declare the column as text, as PostgreSQL prints it
(`{{1,2},{3,4}}`, `[0:1]={1,2}`):

```python
Table("produto", columns={"tags": "Nullable(String)"})
```

## Keys

In PostgreSQL, some values of a key are equal although they print differently: 7 and 7.0 in a `numeric` without precision, A
and a in a `citext`, 1 day and 24:00:00 in an `interval`. In ClickHouse, these are different texts. If a key changes from
one to the other, ClickHouse gets a row with a new key, and the old row counts as deleted.
"""


def page() -> str:
    """Return the text of docs/types.md."""
    rows = "".join(f"| {' | '.join(row)} |\n" for row in _rows())
    as_text = [f"`{_printed(name)}`" for name in registry.ENTRIES if not _has_arrays(name)]
    texts = f"Arrays of {_listed(as_text)} and of types without an entry become a `String`.\n"
    return f"{HEAD}{rows}{CHOOSE}{texts}{ARRAYS}"


def _printed(name: str) -> str:
    return PRINTED.get(name, name)


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _has_arrays(name: str) -> bool:
    element = SourceType(_printed(name), name)
    array = SourceType(f"{_printed(name)}[]", f"_{name}", element=element)
    return carrier(array, not_null=True).warehouse_type.startswith("Array(")


def _rows() -> Iterator[tuple[str, ...]]:
    for name, entry in registry.ENTRIES.items():
        if name == "numeric":
            yield from _numerics()
        else:
            yield _row(f"`{_printed(name)}`", SourceType(_printed(name), name), entry.notes)
    yield _row("enum", SourceType("enum", "enum", "public", kind="e"), registry.ENUM.notes)
    texts = ", ".join(f"`{_printed(name)}`" for name in (*registry.TEXTS, *registry.EXTENSIONS))
    yield _row(texts, SourceType("json", "json"), "")
    yield _row("composite, range, multirange", SourceType("range", "range", "public", kind="r"), "")
    integers = SourceType("integer[]", "_int4", element=SourceType("integer", "int4"))
    yield _row("`integer[]`", integers, "Arrays of other types likewise; see below.")
    yield "domain", "its base type's", "", "", "", "As for the base type."
    unknown = SourceType("other", "other", "public")
    yield _row("any other", unknown, "The log names the column, because its type is not in this list.")


def _numerics() -> Iterator[tuple[str, ...]]:
    for declared, digits, note in NUMERICS:
        modifier = -1 if digits is None else registry.modifier(*digits)
        yield _row(f"`{declared}`", SourceType(declared, "numeric", modifier=modifier), note)


def _row(title: str, source: SourceType, notes: str) -> tuple[str, ...]:
    form, _ = registry.default(source, key=False)
    kind = carrier(source, not_null=True).warehouse_type
    others = [f"`{other}`" for other in registry.offers(source) if other not in (form.base, "String")]
    refused = f"{form.refuses}: {form.why}" if form.refuses else ""
    return title, f"`{kind}`", form.how, refused, ", ".join(others), notes
