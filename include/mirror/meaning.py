"""What decides how a column's stored values print, beside its type's name: it changes and no row is written.

`ALTER TYPE … RENAME VALUE` of an enum, `ADD ATTRIBUTE` and `DROP ATTRIBUTE` of a composite type, the expression of a
generated column: none of them touches a row's `xmin`, fires a trigger, or has another type's name in the catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any


@dataclass(frozen=True)
class Meaning:
    """Of one column: `facts` about its types and its expression, and the labels of their enums in the order in which
    they were added."""

    facts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """A short form to note: what it was, and how many labels there were. Empty where nothing but the type counts."""
        return self._text(len(self.labels))

    def _text(self, labels: int) -> str:
        if not self.facts and not labels:
            return ""
        return f"{_digest(self.facts)}.{labels}.{_digest(self.labels[:labels])}"

    def continues(self, noted: str) -> bool:
        """Return whether every value still prints as when `noted` was the text: at most, enums have got more labels."""
        labels = noted.split(".")[1] if noted else "0"
        return self._text(int(labels)) == noted


NOTHING = Meaning()
"""That of a column whose type alone decides."""


def _digest(parts: Iterable[str]) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:12]


def of_column(oid: int, expression: str | None, types: Mapping[str, Any]) -> Meaning:
    """Return what decides how a column of type `oid` prints; `types` is what the catalog says of it and what it is
    made of, `expression` stands for that of a generated column."""
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
        # Without their names, which a value does not show.
        facts.append(f"{oid} {attributes}")
    for part in [*found["parts"], *(kind for _, kind, _ in attributes)]:
        _collect(part, types, facts, labels, seen)
