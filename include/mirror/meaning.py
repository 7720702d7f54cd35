"""Detects changes of a type or column that make stored values print differently although no row is written.

Examples are `ALTER TYPE … RENAME VALUE` of an enum, `ADD ATTRIBUTE` and `DROP ATTRIBUTE` of a composite type, and another
expression of a generated column. None of them changes a row's `xmin`, fires a trigger, or changes the type's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any


@dataclass(frozen=True)
class Meaning:
    """What decides how one column's stored values print.

    `facts` describe its types and its expression. `labels` are the labels of their enums, in the order in which they were
    added.
    """

    facts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """A short text to store: hashes of the facts and labels, and the number of labels. Empty if only the type counts."""
        return self._text(len(self.labels))

    def _text(self, labels: int) -> str:
        if not self.facts and not labels:
            return ""
        return f"{_digest(self.facts)}.{labels}.{_digest(self.labels[:labels])}"

    def continues(self, noted: str) -> bool:
        """Return whether all values still print as when `noted` was the text. Enums may only have got more labels."""
        labels = noted.split(".")[1] if noted else "0"
        return self._text(int(labels)) == noted


NOTHING = Meaning()
"""The meaning of a column whose type alone decides."""


def _digest(parts: Iterable[str]) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:12]


def of_column(oid: int, expression: str | None, types: Mapping[str, Any]) -> Meaning:
    """Return the meaning of a column of type `oid`.

    `types` are the catalog's entries of the type and of all types that it is made of. `expression` identifies the
    expression of a generated column.
    """
    facts = [] if expression is None else [f"generated {expression}"]
    labels: dict[int, str] = {}
    _collect(oid, types, facts, labels, set())
    return Meaning(tuple(facts), tuple(labels[number] for number in sorted(labels)))


def _collect(
    oid: int, types: Mapping[str, Any], facts: list[str], labels: dict[int, str], seen: set[int]
) -> None:
    if oid in seen:
        return
    seen.add(oid)
    found = types[str(oid)]
    labels.update({number: label for number, label in found["labels"] or ()})
    if found["prints"]:
        facts.append(f"{oid} {found['prints']}")
    attributes: Sequence[tuple[int, int, int]] = found["attributes"] or ()
    if attributes or found["kind"] == "c":
        # Attributes' names are left out: values don't show them.
        facts.append(f"{oid} {attributes}")
    for part in [*found["parts"], *(kind for _, kind, _ in attributes)]:
        _collect(part, types, facts, labels, seen)
