"""A supplier's price list: what its text says, and what each line means for the catalogue. No database, no network.

CSV has a header with `produto_id` and `preco`, comma or semicolon between fields, and is UTF-8; JSON is a list of objects
with these keys, or an object whose `precos` is that list. Other columns are ignored. A price has a point for its decimals
(a comma in CSV that is separated by semicolons), at most two, and no thousands separator: `1.259` is refused, not guessed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from include.loja.errors import ListError

PRICE = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,2})?")
KEY = re.compile(r"[0-9]{1,9}")
COLUMNS = ("produto_id", "preco")
MAX_LINES = 1_000_000
# Of several prices for one product, so many are told.
NAMED = 3


@dataclass(frozen=True)
class Line:
    """A line as the list has it; `number` counts products from 1."""

    number: int
    product: str
    price: str


@dataclass(frozen=True)
class Proposal:
    """What becomes of a line: `aplicar`, `aprovar` (a person decides), `igual` or `invalido`, with the reason."""

    number: int
    product: int | None
    old: Decimal | None
    new: Decimal | None
    decision: str
    reason: str | None = None


def parse(content: bytes, form: str) -> list[Line]:
    """Return the lines of a list in `csv` or `json`. Raises ListError when the list as a whole makes no sense."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListError(f"the list is not UTF-8: byte {error.start} is {content[error.start]:#x}") from None
    lines = list(_csv(text) if form == "csv" else _json(text))
    if not lines:
        raise ListError(
            "the list has no prices: an empty list would mean nothing, so it is taken for a mistake"
        )
    if len(lines) > MAX_LINES:
        raise ListError(f"the list has {len(lines)} lines: at most {MAX_LINES} are taken")
    return lines


def propose(lines: Iterable[Line], catalogue: Mapping[int, Decimal], limit: Decimal) -> list[Proposal]:
    """Return what each line means, given the catalogue's prices; `limit` is a share, 0.2 for 20 %.

    A product that stands in the list twice with different prices is invalid on both lines; an identical line is ignored.
    """
    read = [_read(line, catalogue) for line in lines]
    prices: dict[int, set[Decimal]] = {}
    for proposal in read:
        if proposal.product is not None and proposal.new is not None:
            given = prices.setdefault(proposal.product, set())
            if len(given) < NAMED:
                given.add(proposal.new)
    seen: set[int] = set()
    return [_decide(proposal, prices, seen, limit) for proposal in read]


def change(proposal: Proposal) -> Decimal | None:
    """Return the change as a share of the old price, or None where that was 0."""
    assert proposal.old is not None  # noqa: S101 - only asked of lines that are valid
    assert proposal.new is not None  # noqa: S101
    return abs(proposal.new - proposal.old) / proposal.old if proposal.old else None


def _read(line: Line, catalogue: Mapping[int, Decimal]) -> Proposal:
    def invalid(reason: str, product: int | None = None) -> Proposal:
        return Proposal(line.number, product, None, None, "invalido", reason)

    if not KEY.fullmatch(line.product):
        return invalid(f"produto_id is {line.product[:50]!r}: it must be a whole number")
    product = int(line.product)
    if product not in catalogue:
        return invalid(f"produto_id is {product}: the catalogue has no such product", product)
    if not PRICE.fullmatch(line.price):
        return invalid(f"preco is {line.price[:50]!r}: it must be like 1234.50", product)
    price = Decimal(line.price)
    if price <= 0:
        return invalid(f"preco is {line.price}: it must be above 0", product)
    return Proposal(line.number, product, catalogue[product], price, "aplicar")


def _decide(
    proposal: Proposal, prices: Mapping[int, set[Decimal]], seen: set[int], limit: Decimal
) -> Proposal:
    number, product, old, new = proposal.number, proposal.product, proposal.old, proposal.new
    if proposal.decision == "invalido" or product is None:
        return proposal
    if len(prices[product]) > 1:
        given = ", ".join(map(str, sorted(prices[product])))
        return Proposal(
            number, product, old, new, "invalido", f"the list gives {given}: it must give one price"
        )
    if product in seen:
        return Proposal(number, product, old, new, "igual", "the same line stands above")
    seen.add(product)
    if new == old:
        return Proposal(number, product, old, new, "igual")
    share = change(proposal)
    if share is None or share > limit:
        by = "from 0" if share is None else f"of {share * 100:.1f} %"
        return Proposal(
            number,
            product,
            old,
            new,
            "aprovar",
            f"a change {by}; up to {(limit * 100).normalize():f} % needs nobody",
        )
    return proposal


def _csv(text: str) -> Iterator[Line]:
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header else ","
    # A field of a megabyte is an error, in words of our own.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = names
        _require(names)
        for number, row in enumerate(reader, 1):
            price = (row["preco"] or "").strip()
            if delimiter == ";":
                price = price.replace(",", ".") if price.count(",") == 1 and "." not in price else price
            yield Line(number, (row["produto_id"] or "").strip(), price)
    except csv.Error as error:
        raise ListError(f"line {reader.line_num} of the list is no CSV: {error}") from None


def _json(text: str) -> Iterator[Line]:
    try:
        # As text: a price must not pass through a float.
        content = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ListError(f"the list is no JSON: {error}") from None
    rows: Any = content.get("precos") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise ListError("the list must be a JSON list of objects, or an object whose precos is one")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ListError(f"entry {number} of the list is a {type(row).__name__}; it must be an object")
        if number == 1:
            _require(list(row))
        yield Line(number, _text(row.get("produto_id")), _text(row.get("preco")))


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)


def _require(names: list[str]) -> None:
    if missing := [name for name in COLUMNS if name not in names]:
        raise ListError(f"the list has {', '.join(map(repr, names[:20]))}; it lacks {' and '.join(missing)}")
