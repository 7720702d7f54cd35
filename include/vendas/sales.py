"""Sales in a range of dates, added up by the warehouse: by day, by state and city, by product, and the delivery rate.

They come from the marts (docs/marts.md), or from the mirror's views as long as the marts have never been built: the files
of_marts.sql and of_views.sql say how, and all queries begin with one of them. Only sums leave the warehouse: a row per day,
per city and per product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from include.conventions import sql
from include.conventions.errors import RequestError
from include.marts.results import DATABASE

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

USUAL = timedelta(days=29)
LONGEST = timedelta(days=3660)
PRODUCTS = 10
DAYS = 92
"""A longer range is added up by month."""
SECONDS = 10
"""The time limit of one query."""
FOLDER = "vendas_painel"
MART_TABLES = ["produtos_por_dia", "vendas_por_cidade", "vendas_por_dia"]
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Range:
    """Days, the first and the last included."""

    de: date
    ate: date

    @classmethod
    def of(cls, de: str, ate: str, today: date) -> Range:
        """Return the range that two ISO dates name; without them, the thirty days up to today.

        Raises RequestError for other texts, for a first day after the last, and for more than ten years.
        """
        last = _day("ate", ate) if ate else today
        first = _day("de", de) if de else last - USUAL
        if first > last:
            raise RequestError(f"de {first} is after ate {last}: give the earlier day first")
        if last - first > LONGEST:
            raise RequestError(
                f"{first} to {last} is longer than {LONGEST.days:,} days: give a shorter range"
            )
        return cls(first, last)


ALL_DAYS = Range(date(1900, 1, 1), date(2299, 12, 31))
"""All that ClickHouse's Date32 can hold."""


@dataclass(frozen=True)
class Sum:
    """Sales and their value, of a day or of a month, a state, a city or a product."""

    name: str
    count: int
    value: Decimal


@dataclass(frozen=True)
class Sales:
    """The sales of a range. `delivered` counts sales with `entregue = 'S'`. `newest` is set if the range is empty.

    `built` is when the marts that were read had been built, None if the mirror's views were read.
    """

    days: Sequence[Sum]
    states: Sequence[Sum]
    cities: Sequence[Sum]
    products: Sequence[Sum]
    delivered: int
    newest: date | None = None
    built: datetime | None = None

    @property
    def count(self) -> int:
        """The number of sales."""
        return sum(one.count for one in self.days)

    @property
    def value(self) -> Decimal:
        """The value of all sales."""
        return sum((one.value for one in self.days), Decimal())

    @property
    def rate(self) -> float | None:
        """The share of sales that are delivered, None without a sale."""
        return self.delivered / self.count if self.count else None


def read(client: Client, views: str, span: Range) -> Sales:
    """Return the sales of a range. Raises the driver's errors."""
    built = _built(client)
    client.database = views if built is None else DATABASE
    relations = sql.text(FOLDER, "of_views" if built is None else "of_marts")

    def rows(query: str, span: Range, **parameters: Any) -> Sequence[Sequence[Any]]:
        answer = client.query(
            f"{relations}\n{sql.text(FOLDER, query)}",
            parameters={"de": span.de.isoformat(), "ate": span.ate.isoformat(), **parameters},
            settings={"max_execution_time": SECONDS, "join_use_nulls": 1},
        )
        return answer.result_rows

    days = rows("read_days", span)
    if not days:
        ((newest,),) = rows("read_newest", ALL_DAYS)
        return Sales([], [], [], [], 0, _newest(newest), built)
    places = rows("read_places", span)
    cities = [
        Sum(f"{cidade or UNKNOWN}{f', {uf}' if uf else ''}", vendas, valor or Decimal())
        for uf, cidade, vendas, valor in places
    ]
    return Sales(
        _periods(span, {day: (vendas, valor or Decimal()) for day, vendas, valor, _ in days}),
        _states(places),
        cities,
        [
            Sum(produto or UNKNOWN, quantidade or 0, valor or Decimal())
            for produto, quantidade, valor in rows("read_products", span, count=PRODUCTS)
        ],
        sum(entregues for *_, entregues in days),
        built=built,
    )


def _built(client: Client) -> datetime | None:
    """Return when the oldest of the marts was built, None if one of them does not exist."""
    [(count, oldest)] = client.query(
        "SELECT count(), toUnixTimestamp(min(metadata_modification_time)) FROM system.tables"
        " WHERE database = {marts:String} AND name IN ({tables:Array(String)})",
        parameters={"marts": DATABASE, "tables": MART_TABLES},
        settings={"max_execution_time": SECONDS},
    ).result_rows
    return datetime.fromtimestamp(oldest, UTC) if count == len(MART_TABLES) else None


def _newest(value: date | None) -> date | None:
    # The maximum of no row is the earliest date.
    return value if value and value.year > 1900 and value != date(1970, 1, 1) else None


def _periods(span: Range, sold: Mapping[date, tuple[int, Decimal]]) -> list[Sum]:
    """Return the sums of all days, also of those without a sale, or of the months if a chart can't show so many days."""
    days = [span.de + timedelta(days=n) for n in range((span.ate - span.de).days + 1)]
    name = "%Y-%m-%d" if len(days) <= DAYS else "%Y-%m"
    sums: dict[str, Sum] = {}
    for day in days:
        count, value = sold.get(day, (0, Decimal()))
        known = sums.get(key := day.strftime(name), Sum(key, 0, Decimal()))
        sums[key] = Sum(key, known.count + count, known.value + value)
    return list(sums.values())


def _states(places: Sequence[Sequence[Any]]) -> list[Sum]:
    sums: defaultdict[str, list[Any]] = defaultdict(lambda: [0, Decimal()])
    for uf, _, vendas, valor in places:
        state = sums[uf or UNKNOWN]
        state[0] += vendas
        state[1] += valor or Decimal()
    found = [Sum(name, count, value) for name, (count, value) in sums.items()]
    return sorted(found, key=lambda one: (-one.value, one.name))


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RequestError(f"{name} is {text!r}: give a day like 2026-01-31") from None
