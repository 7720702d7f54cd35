"""A supplier's price list: parse its text, and decide what each line changes in the catalogue. No database, no network.

CSV is UTF-8, has a header with `produto_id` and `preco`, and comma or semicolon between fields. JSON is a list of objects
with these keys, or an object with that list under `precos`. Other columns are ignored. A price has at most two decimals
after a point (in CSV with semicolons a comma works too) and no thousands separator: `1.259` is refused, not guessed.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from include.loja.errors import ListError

PRICE = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,2})?")
KEY = re.compile(r"[0-9]{1,9}")
COLUMNS = ("produto_id", "preco")
MAX_LINES = 1_000_000
# Characters and values of JSON: all values are in memory before the first line is read, and two characters can describe one
# that takes a hundred bytes. A line with two columns is three values.
MAX_JSON = 16 * 1024 * 1024
MAX_VALUES = 1_000_000
# How much of a list's own text a message quotes: columns, and characters of each.
QUOTED = (20, 50)
# How many of a product's contradicting prices a message names.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list as text. `number` counts the lines with products from 1."""

    number: int
    product: str
    price: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """The decision on a line: `aplicar`, `aprovar` (a person decides), `igual` or `invalido`, with the reason."""

    number: int
    product: int | None
    old: Decimal | None
    new: Decimal | None
    decision: str
    reason: str | None = None


def parse(content: bytes, form: str) -> list[Line]:
    """Return the lines of a list; `form` is `csv` or `json`. Raises ListError when the whole list is unusable."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ListError(f"the list is not UTF-8: byte {error.start} is {content[error.start]:#x}") from None
    lines = list(islice(_csv(text) if form == "csv" else _json(text), MAX_LINES + 1))
    if not lines:
        raise ListError(
            "the list has no prices: it must have at least one line, so an empty list is treated as a mistake"
        )
    if len(lines) > MAX_LINES:
        raise ListError(f"the list has more than {MAX_LINES} lines: at most that many are accepted")
    return lines


def propose(lines: Iterable[Line], catalogue: Mapping[int, Decimal], limit: Decimal) -> list[Proposal]:
    """Return the proposal of each line, given the catalogue's prices. `limit` is a fraction: 0.2 means 20 %.

    If the list gives a product two different prices, all its lines are invalid. A repeated identical line is ignored.
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
    """Return the change as a fraction of the old price, or None if the old price is 0."""
    assert proposal.old is not None  # noqa: S101 - only called for valid lines
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
        return Proposal(number, product, old, new, "igual", "repeats an earlier line of the list")
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
            f"a change {by}; more than {(limit * 100).normalize():f} % needs a person's approval",
        )
    return proposal


def _csv(text: str) -> Iterator[Line]:
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header else ","
    # Raises csv.Error for a field above 128 KiB too.
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
        raise ListError(f"line {reader.line_num} of the list is not CSV: {error}") from None


def _json(text: str) -> Iterator[Line]:
    if len(text) > MAX_JSON:
        raise ListError(f"the list has more than {MAX_JSON} characters of JSON: ask the supplier for CSV")
    # Each value but the first follows one of these; those within texts count too.
    if sum(map(text.count, ",[{")) > MAX_VALUES:
        raise ListError(f"the list has more than {MAX_VALUES} values of JSON: ask the supplier for CSV")
    try:
        # Numbers stay text: a float would round a price.
        content = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ListError(f"the list is not JSON: {error}") from None
    rows: Any = content.get("precos") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise ListError("the list must be a JSON list of objects, or an object with such a list under precos")
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
        columns, characters = QUOTED
        quoted = ", ".join(repr(name[:characters]) for name in names[:columns])
        raise ListError(f"the list has the columns {quoted}; it lacks {' and '.join(missing)}")
