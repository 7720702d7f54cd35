"""Arrays of one dimension: PostgreSQL arrays travel as Arrow lists and become ClickHouse arrays.

The driver's lists and ClickHouse's arrays can't hold a second dimension or a first index other than 1, and a ClickHouse
array can't be NULL. Such values are refused. NULL elements arrive.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.mirror.types.carrier import Mask, Numbers
from include.mirror.types.digest import content, sequence, sequence_sql
from include.mirror.types.forms import Form, Sql, valid
from include.mirror.types.target import Target

ELEMENT = "e"
"""The name of an element in ClickHouse's lambdas."""

_NO_NUMBERS: Numbers = np.zeros(0, dtype=np.int64)
_REFUSES = "NULL, a second dimension, a first index other than 1"


def array(form: Form, nullable: bool, low_cardinality: bool = False) -> Form:
    """Return the form of an array whose elements travel in `form`, which must have `elements`.

    `nullable` is True if the warehouse's array can hold NULLs. Otherwise an array with a NULL element is refused.
    """
    element = Target(form.base, nullable, low_cardinality)

    def accepts(kind: Any) -> bool:
        return bool(pa.types.is_list(kind) and form.accepts(kind.value_type))

    def numbers(lists: pa.Array) -> Numbers:
        values = lists.flatten()
        nulls = ~valid(values) if values.null_count else None
        return sequence(form.numbers(values), nulls, _offsets(lists))

    def counts(values: pa.Array) -> Numbers:
        # Values with a digest of their text need no numbers: they have no range, and are not converted from numbers.
        return _NO_NUMBERS if form.numbers is content else form.numbers(values)

    def not_held(lists: pa.Array, _numbers: Numbers) -> Mask | None:
        values = lists.flatten()
        wrong = form.not_held(values, counts(values))
        if values.null_count and not nullable:
            nulls = ~valid(values)
            wrong = nulls if wrong is None else wrong | nulls
        if wrong is None:
            return None
        mask = np.zeros(len(lists), dtype=np.bool_)
        mask[np.searchsorted(_offsets(lists), np.flatnonzero(wrong), "right") - 1] = True
        return mask

    def convert(lists: pa.Array, _numbers: Numbers) -> pa.Array:
        values = lists.flatten()
        return pa.ListArray.from_arrays(
            pa.array(_offsets(lists).astype(np.int32)),
            form.convert(values, counts(values)),
            mask=lists.is_null() if lists.null_count else None,
        )

    return Form(
        f"Array({element})",
        f"`c::{form.elements}[]`",
        # The driver fails at a first index other than 0 or 1, without naming the row. So such arrays are read as NULL.
        lambda name: f"CASE WHEN {_is_altered(name)} THEN NULL ELSE {name}::{form.elements}[] END",
        _source_text(form),
        _warehouse_text(form, nullable),
        lambda name, _nullable: sequence_sql(name, ELEMENT, form.digest(ELEMENT, nullable), nullable),
        accepts,
        numbers,
        convert,
        not_held,
        altered=_is_altered,
        nullable=False,
        refuses=", ".join(filter(None, [_REFUSES, "" if nullable else "NULL elements", form.refuses])),
        why="an array of ClickHouse has none of these",
    )


def _is_altered(name: str) -> str:
    return f"coalesce(array_ndims({name}) > 1 OR array_lower({name}, 1) <> 1, false)"


def _offsets(lists: pa.Array) -> npt.NDArray[np.int64]:
    """Return where each list begins in the flattened values, and where the last one ends. A NULL list is empty."""
    offsets = np.zeros(len(lists) + 1, dtype=np.int64)
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _source_text(form: Form) -> Sql:
    if form.element_text is not None:
        return lambda name: f"{name}::{form.elements}[]::text"
    # Without the bytes before the elements' type: they hold a flag for NULL elements, which PostgreSQL may leave set for an
    # array that has none any more.
    return lambda name: f"substr(encode(array_send({name}::{form.elements}[]), 'hex'), 17)"


def _warehouse_text(form: Form, nullable: bool) -> Sql:
    def joined(each: str, separator: str, name: str) -> str:
        return f"arrayStringConcat(arrayMap({ELEMENT} -> {each}, {name}), '{separator}')"

    if form.element_text is not None:
        printed = form.element_text(ELEMENT)
        if form.base == "String" or form.base.startswith("DateTime64"):
            printed = _quoted(printed)
        each = _unless_null(printed, "NULL") if nullable else printed
        return lambda name: f"concat('{{', {joined(each, ',', name)}, '}}')"

    encoded = form.element_bytes(ELEMENT)
    size = f"{form.element_size:08x}"
    each = f"concat('{size}', {_unless_null(encoded, '') if nullable else encoded})"
    if nullable:
        each = f"if(isNull({ELEMENT}), 'ffffffff', {each})"
    kind = f"{form.element_type:08x}"

    def sent(name: str) -> str:
        count = f"leftPad(lower(hex(toUInt32(length({name})))), 8, '0')"
        return f"if(empty({name}), '{kind}', concat('{kind}', {count}, '00000001', {joined(each, '', name)}))"

    return sent


def _unless_null(expression: str, otherwise: str) -> str:
    return f"if(isNull({ELEMENT}), '{otherwise}', assumeNotNull({expression}))"


def _quoted(text: str) -> str:
    """Return the ClickHouse expression of a text quoted as PostgreSQL prints it in an array."""
    escaped = f"replaceAll(replaceAll({text}, '\\\\', '\\\\\\\\'), '\"', '\\\\\"')"
    special = f"match({text}, '[{{}},\"\\\\\\\\\\\\s\\\\x0b]')"
    return f"if({text} = '' OR lower({text}) = 'null' OR {special}, concat('\"', {escaped}, '\"'), {text})"
