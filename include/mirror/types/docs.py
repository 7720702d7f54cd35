"""docs/types.md, made from the registry."""

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
"""What people call types, where that is not their name in pg_type."""

NUMERICS = (
    ("numeric(10,2)", (10, 2), "Up to 18 digits."),
    ("numeric(38,10)", (38, 10), "19 to 76 digits."),
    ("numeric(2,-3)", (2, -3), "A negative scale: zeros before the point."),
    ("numeric(3,5)", (3, 5), "More decimals than digits."),
    ("numeric(100,2)", (100, 2), "More than 76 digits."),
    ("numeric", None, "The text keeps the zeros at the end, which PostgreSQL keeps too."),
)
"""Examples of what a `numeric` may be, with precision and scale, and a note."""

HEAD = """\
# Types

<!-- Made by `make types` from the registry, include/mirror/types: change that. A test compares this file with it. -->

A column gets the ClickHouse type of this table, as `Nullable(…)` where PostgreSQL lets it be NULL. A value arrives exactly.
If it can't, the run fails with a `ValueNotHeldError` that names table, column, value and key, and publishes nothing of the
window.

`c` is the column. "As it is" means that the driver reads PostgreSQL's binary form.

| PostgreSQL | ClickHouse | read | refused, and why | can also be | notes |
|---|---|---|---|---|---|
"""

CHOOSE = """
Every type can also be a `String`. That holds what PostgreSQL prints (`c::text`, with `TimeZone=UTC`, `DateStyle=ISO` and
`IntervalStyle=postgres`), and refuses nothing.

## Choose another type

```python
Table("produto", columns={"produto_id": "UInt32", "situacao": "LowCardinality(String)"})
```

- The type is a whole ClickHouse type. Without `Nullable(…)` a NULL in the source is refused.
- Choose what the table above lists, or a `String`. Any other type is refused before a row is read, with a message that
  lists what would do.
- A `String` may be a `LowCardinality(String)` or a `LowCardinality(Nullable(String))`.
- A value that the chosen type can't hold is refused: -1 for `UInt32`, 1.259 for `Decimal(10, 2)`. It is never rounded,
  wrapped or cut.
- A warehouse table that exists keeps its types if they are among these.

## Arrays

An array becomes an `Array(Nullable(T))`; T is the type of its elements in the table above. NULL elements arrive. Choose
`Array(T)`, and they are refused.
"""

ARRAYS = """\
An array in a key becomes a `String`, because the two servers don't compare arrays in the same way.

A ClickHouse array can't be NULL, and its first index is 1. So these are refused, and so are two dimensions: the driver
flattens them without an error. One declaration carries all of them, as PostgreSQL prints them (`{{1,2},{3,4}}`,
`[0:1]={1,2}`):

```python
Table("produto", columns={"tags": "Nullable(String)"})
```

## Keys

PostgreSQL takes some values of a key for equal that are printed differently: 7 and 7.0 in a `numeric` without precision, A
and a in a `citext`, 1 day and 24:00:00 in an `interval`. In ClickHouse these are different texts. A row whose key changes
from one to the other is a row with another key there, and the old one is a deleted row.
"""


def page() -> str:
    """Return the whole page."""
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
    yield "domain", "its base type's", "", "", "", "What the base type is."
    unknown = SourceType("other", "other", "public")
    yield _row("any other", unknown, "The log names the column: the type has no entry here.")


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
