"""The noted meaning of a column's values, and when it still holds."""

from __future__ import annotations

import pytest

from include.mirror.meaning import NOTHING, Meaning, of_column
from include.mirror.warehouse.ddl import ColumnIdentity, TableIdentity, read_comment, read_table_comment

COLOURS = Meaning(("7 cast 9",), ("azul", "verde"))


@pytest.mark.parametrize(
    ("now", "same"),
    [
        (COLOURS, True),
        (Meaning(COLOURS.facts, ("azul", "verde", "rosa")), True),
        (Meaning(COLOURS.facts, ("anil", "verde")), False),
        (Meaning(COLOURS.facts, ("verde", "azul")), False),
        (Meaning(COLOURS.facts, ("azul",)), False),
        (Meaning(COLOURS.facts), False),
        (Meaning((), COLOURS.labels), False),
        (NOTHING, False),
    ],
)
def test_more_labels_are_no_other_meaning(now: Meaning, same: bool) -> None:
    assert now.continues(COLOURS.text) is same


def test_a_type_alone_is_nothing_to_note() -> None:
    assert NOTHING.text == ""
    assert NOTHING.continues("")
    assert not COLOURS.continues("")
    assert Meaning((), ("azul",)).continues("")


def test_a_type_that_holds_itself_ends() -> None:
    """`CREATE TABLE no (filhos no[])`: an array of the table's own rows."""
    types = {
        "1": {"kind": "c", "labels": None, "prints": "", "parts": [], "attributes": [[1, 2, -1]]},
        "2": {"kind": "b", "labels": None, "prints": "", "parts": [1], "attributes": None},
    }
    assert of_column(2, None, types) == Meaning(("1 [[1, 2, -1]]",))
    assert of_column(1, "x", types) == Meaning(("generated x", "1 [[1, 2, -1]]"))


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("integer (attribute 1)", ColumnIdentity("integer", 1, False)),
        ("integer (attribute 1, left out)", ColumnIdentity("integer", 1, True)),
        (f"cor (attribute 2, printed as {COLOURS.text})", ColumnIdentity("cor", 2, False, COLOURS.text)),
        ("a comment of somebody's own", None),
    ],
)
def test_comments_of_columns(text: str, identity: ColumnIdentity | None) -> None:
    assert read_comment(text) == identity


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ('"a"."b" (oid 7, attributes up to 3)', TableIdentity(7, 3)),
        ('"a"."b" (oid 7, attributes up to 3, partitions 8 9)', TableIdentity(7, 3, frozenset({8, 9}))),
        (
            '"a"."b" (oid 7, attributes up to 3, partitions 8, detached 9 10, files 0af since 99 by 3)',
            TableIdentity(7, 3, frozenset({8}), "0af", 99, frozenset({9, 10}), 3),
        ),
        ("a comment of somebody's own", None),
    ],
)
def test_comments_of_tables(text: str, identity: TableIdentity | None) -> None:
    assert read_table_comment(text) == identity
