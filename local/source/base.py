"""Base data of the sales system: countries, cities, clients and products.

On an empty database, the same seed gives the same rows with the same ids. Cities are real (`cidades.csv`); people and
products are invented. The texts contain accents, quotes, backslashes, tabs and line breaks, and all nullable columns
contain NULLs, so that a mirror must transfer all of these.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from local.source.names import (
    FIRST_NAMES,
    LAST_NAMES,
    NAME_PARTICLES,
    PRODUCT_ADJECTIVES,
    PRODUCT_NOUNS,
    PRODUCT_REMARKS,
)

SQL_FOLDER = Path(__file__).resolve().parents[2] / "include" / "sql" / "source"
CITIES_FILE = Path(__file__).with_name("cidades.csv")
FIRST_REGISTRATION = date(2015, 1, 1)
LAST_REGISTRATION = date(2025, 12, 31)


class SourceError(Exception):
    """The source database can't be used as it is. The message has what to do."""


@dataclass(frozen=True)
class BaseData:
    """The number of rows per table that `create` wrote; all 0 if the base data was there already."""

    pais: int = 0
    cidade: int = 0
    cliente: int = 0
    produto: int = 0


def create(
    dsn: str, seed: int = 1, clients: int = 2_000, products: int = 200, indexes: bool = False
) -> BaseData:
    """Create the schema and the base data in one transaction; existing rows stay unchanged.

    With `indexes`, also creates the indexes on `updated_at` that the extraction needs.
    """
    with psycopg.connect(dsn) as connection:
        execute_file(connection, "create_schema.sql")
        if indexes:
            execute_file(connection, "create_indexes.sql")
        if connection.execute("SELECT 1 FROM pais LIMIT 1").fetchone():
            return BaseData()
        return _fill(connection, generator(seed), clients, products)


def execute_file(connection: psycopg.Connection[Any], name: str) -> None:
    """Run all statements of a file in `include/sql/source/`."""
    connection.execute((SQL_FOLDER / name).read_bytes())


def generator(*seed: int) -> random.Random:
    """Return a generator of pseudo-random numbers that depends on `seed` alone."""
    return random.Random("/".join(map(str, seed)))  # noqa: S311 (repeatable data is the point)


def cpf(rng: random.Random) -> str:
    """Return an invented CPF with correct check digits, in the form `000.000.000-00`."""
    digits = [rng.randrange(10) for _ in range(9)]
    for _ in range(2):
        weights = range(len(digits) + 1, 1, -1)
        remainder = sum(d * w for d, w in zip(digits, weights, strict=True)) % 11
        digits.append(0 if remainder < 2 else 11 - remainder)
    text = "".join(map(str, digits))
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def person_name(rng: random.Random) -> str:
    """Return an invented Portuguese name of at most 60 characters."""
    parts = [rng.choice(FIRST_NAMES)]
    if rng.random() < 0.25:
        parts.append(rng.choice(FIRST_NAMES))
    for _ in range(rng.choice((1, 2, 2))):
        if rng.random() < 0.2:
            parts.append(rng.choice(NAME_PARTICLES))
        parts.append(rng.choice(LAST_NAMES))
    return " ".join(parts)[:60].rstrip()


def price(rng: random.Random) -> Decimal:
    """Return a price between 0.99 and about 5,000; small prices are far more frequent."""
    return Decimal(99 + int(10 ** rng.uniform(0, 5.7))) / 100


def _fill(connection: psycopg.Connection[Any], rng: random.Random, clients: int, products: int) -> BaseData:
    with CITIES_FILE.open(encoding="utf-8", newline="") as file:
        cities = [(row["pais"], row["uf"] or None, row["cidade"]) for row in csv.DictReader(file)]
    countries = list(dict.fromkeys(country for country, _, _ in cities))
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO pais (pais) VALUES (%s)", [(name,) for name in countries])
        country_ids = dict(cursor.execute("SELECT pais, pais_id FROM pais").fetchall())
        cursor.executemany(
            "INSERT INTO cidade (cidade_desc, cidade_uf, pais_id) VALUES (%s, %s, %s)",
            [(city, uf, country_ids[country]) for country, uf, city in cities],
        )
        city_ids = [id for (id,) in cursor.execute("SELECT cidade_id FROM cidade ORDER BY cidade_id")]
        with cursor.copy("COPY cliente (nome, data_nasc, data_cad, cpf, cidade_id) FROM STDIN") as copy:
            for row in _clients(rng, clients, city_ids):
                copy.write_row(row)
        with cursor.copy("COPY produto (nome, descricao, preco_base, ativo) FROM STDIN") as copy:
            for row in _products(rng, products):
                copy.write_row(row)
    return BaseData(pais=len(countries), cidade=len(cities), cliente=clients, produto=products)


def _clients(rng: random.Random, count: int, city_ids: list[int]) -> Iterator[tuple[Any, ...]]:
    registration_days = (LAST_REGISTRATION - FIRST_REGISTRATION).days
    for _ in range(count):
        registered = FIRST_REGISTRATION + timedelta(days=rng.randrange(registration_days))
        born = registered - timedelta(days=rng.randrange(18 * 365, 85 * 365))
        yield (
            person_name(rng),
            _sometimes_null(rng, born),
            registered,
            _sometimes_null(rng, cpf(rng)),
            _sometimes_null(rng, rng.choice(city_ids)),
        )


def _products(rng: random.Random, count: int) -> Iterator[tuple[Any, ...]]:
    for number in range(1, count + 1):
        name = f"{rng.choice(PRODUCT_NOUNS)} {rng.choice(PRODUCT_ADJECTIVES)} {number:04d}"
        remarks = rng.sample(PRODUCT_REMARKS, rng.randrange(1, 4))
        description = rng.choice((" ", "\n", "\r\n", "\t")).join([f"{name}.", *remarks])
        # Only two percent are NULL: a product without a price can't be sold.
        base_price = None if rng.random() < 0.02 else price(rng)
        yield name, _sometimes_null(rng, description), base_price, rng.random() < 0.95


def _sometimes_null(rng: random.Random, value: Any) -> Any:
    return None if rng.random() < 0.04 else value
