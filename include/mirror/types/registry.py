"""The registry of PostgreSQL types: for each, the default ClickHouse type and the other possible ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from include.mirror.relation import SourceType
from include.mirror.types import forms
from include.mirror.types.arrays import array
from include.mirror.types.forms import Form
from include.mirror.types.target import Target

MOST_DIGITS = 76
"""The highest precision of a ClickHouse Decimal, in digits."""


@dataclass(frozen=True)
class Entry:
    """One PostgreSQL type, or several that travel in the same way.

    `form` returns the default form. `into` returns the form for another ClickHouse type, None if that is not possible.
    `others` names the possible other types. With `low_cardinality` the default is a LowCardinality. `notes` are for docs.
    """

    form: Callable[[SourceType], Form]
    into: Callable[[SourceType, Target], Form | None] = lambda _source, _target: None
    others: Callable[[SourceType], str] = lambda _source: ""
    low_cardinality: bool = False
    notes: str = ""


def _only(form: Form, notes: str = "") -> Entry:
    return Entry(lambda _source: form, notes=notes)


def _integer(base: str, source: str, cast: str | None = None) -> Entry:
    def into(_source: SourceType, target: Target) -> Form | None:
        return forms.integer(target.base, source, cast) if target.base in forms.INTEGERS else None

    form = forms.integer(base, source, cast)
    return Entry(lambda _source: form, into, lambda _source: "Int8 to Int64, UInt8 to UInt64")


def modifier(precision: int, scale: int) -> int:
    """Return the type modifier of `numeric(precision, scale)`."""
    return (precision << 16 | scale & 0x7FF) + 4


def digits(source: SourceType) -> tuple[int, int] | None:
    """Return the precision and scale that a Decimal needs for a `numeric`, None for a `numeric` without precision."""
    if source.modifier < 4:
        return None
    packed = source.modifier - 4
    # The scale is a signed number of 11 bits.
    precision, scale = packed >> 16 & 0xFFFF, (packed & 0x7FF ^ 0x400) - 0x400
    if scale < 0:
        # numeric(2,-3) holds 99000.
        return precision - scale, 0
    # numeric(3,5) holds 0.00999.
    return max(precision, scale), scale


def _numeric(source: SourceType) -> Form:
    known = digits(source)
    return forms.text() if known is None or known[0] > MOST_DIGITS else forms.decimal(*known, known)


def _numeric_into(source: SourceType, target: Target) -> Form | None:
    known, asked = digits(source), target.decimal
    if asked is None or asked[0] > MOST_DIGITS or asked[1] > asked[0]:
        return None
    if known is None:
        return forms.decimal_of_any(asked)
    return forms.decimal(*known, asked) if asked[1] == known[1] and asked[0] >= known[0] else None


def _numeric_others(source: SourceType) -> str:
    known = digits(source)
    if known is None:
        return "Decimal(P, S) that all values fit in"
    return f"Decimal(P, {known[1]}) with P from {known[0]} to {MOST_DIGITS}" if known[0] < MOST_DIGITS else ""


MONEY = replace(
    forms.decimal_of_any((20, 2), lambda name: f"{name}::numeric", "c::numeric"),
    refuses="more than 2 decimals, which lc_monetary may allow",
    why="ClickHouse would cut them off",
)


ENTRIES: dict[str, Entry] = {
    "int2": _integer("Int16", "int2"),
    "int4": _integer("Int32", "int4"),
    "int8": _integer("Int64", "int8"),
    "oid": _integer("UInt32", "oid", "int8"),
    "numeric": Entry(_numeric, _numeric_into, _numeric_others),
    "money": _only(MONEY),
    "float4": _only(forms.floating(32)),
    "float8": _only(forms.floating(64)),
    "bool": _only(forms.BOOLEAN),
    "text": _only(forms.text(forms.as_is)),
    "varchar": _only(forms.text(forms.as_is, elements="varchar")),
    # A cast to text drops the padding; the driver and the type's own output function keep it.
    "bpchar": _only(
        forms.text(forms.as_is, lambda name: f"textin(bpcharout({name}))", elements="bpchar"),
        "Trailing spaces are kept.",
    ),
    "bytea": _only(forms.BYTES, "The bytes themselves."),
    "uuid": _only(forms.UUID),
    "date": _only(forms.DATE),
    "timestamp": _only(forms.timestamp("timestamp"), "The wall clock, with the label UTC."),
    "timestamptz": _only(forms.timestamp("timestamptz")),
    "time": _only(forms.TIME, "24:00:00 is kept."),
}
"""Types of pg_catalog, by their names in pg_type."""

TEXTS = (
    *(
        "name",
        "char",
        "json",
        "jsonb",
        "jsonpath",
        "xml",
        "interval",
        "timetz",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
    ),
    *("bit", "varbit", "tsvector", "tsquery", "point", "line", "lseg", "box", "path", "polygon", "circle"),
    *("pg_lsn", "pg_snapshot", "txid_snapshot", "xid", "xid8", "cid", "tid", "int2vector", "oidvector"),
)
"""Types of pg_catalog that travel as PostgreSQL prints them."""

EXTENSIONS = ("citext", "hstore")
"""Types of extensions that travel as PostgreSQL prints them, in any schema."""

TEXT = _only(forms.text())
ENUM = Entry(TEXT.form, low_cardinality=True)


def entry(source: SourceType) -> Entry | None:
    """Return the entry of a type that is not an array, None if it has none."""
    if source.kind == "e":
        return ENUM
    if source.kind in ("c", "r", "m"):
        return TEXT
    if source.schema != "pg_catalog":
        return TEXT if source.name in EXTENSIONS else None
    return ENTRIES.get(source.name) or (TEXT if source.name in TEXTS else None)


def is_known(source: SourceType) -> bool:
    """Return whether a type, or an array's element type, has an entry. Types without an entry travel as text."""
    return entry(source.element or source) is not None


def default(source: SourceType, *, key: bool) -> tuple[Form, bool]:
    """Return a type's default form, and whether it is a LowCardinality.

    Arrays in a key travel as text, because both servers sort arrays differently.
    """
    if source.element is None:
        found = entry(source) or TEXT
        return found.form(source), found.low_cardinality
    return (None if key else _array(source, None)) or TEXT.form(source), False


def into(source: SourceType, target: Target) -> Form | None:
    """Return the form of a type for a requested ClickHouse type, None if that is not possible."""
    if target.element is not None:
        return _array(source, target.element)
    if source.element is None:
        found = entry(source) or TEXT
        form = found.form(source)
        if target.base == form.base:
            return form
        if (other := found.into(source, target)) is not None:
            return other
    return TEXT.form(source) if target.base == "String" else None


def offers(source: SourceType) -> list[str]:
    """Return the ClickHouse types that `into` accepts, as texts for people, without Nullable and LowCardinality."""
    if source.element is None:
        found = entry(source) or TEXT
        return list(dict.fromkeys(filter(None, [found.form(source).base, found.others(source), "String"])))
    form = _array(source, None)
    return [form.base, "String"] if form else ["String"]


def _array(source: SourceType, target: Target | None) -> Form | None:
    """Return the form of an array as a ClickHouse array, None if that is not possible.

    `target` is the requested type of the elements, None for the default.
    """
    if source.element is None:
        return None
    element = source.element
    if element.modifier == -1:
        element = replace(element, modifier=source.modifier)
    found = entry(element)
    if found is None:
        return None
    if target is None:
        form, nullable, low_cardinality = found.form(element), True, False
    elif (asked := into(element, target)) is not None:
        form, nullable, low_cardinality = asked, target.nullable, target.low_cardinality
    else:
        return None
    if form.elements is None or nullable > form.nullable or low_cardinality > form.low_cardinality:
        return None
    return array(form, nullable, low_cardinality)
