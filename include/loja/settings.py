"""What can be set of the store's DAGs, all from the environment, all read here.

| variable                        | default             | meaning                                                       |
|---------------------------------|---------------------|---------------------------------------------------------------|
| `LOJA_FUSO`                     | `America/Sao_Paulo` | zone of the timetables                                        |
| `LOJA_CRIACAO_LOTES`            | `20`                | at most this many batches in one run of `criacao_produtos`    |
| `LOJA_CRIACAO_LOTE`             | `50`                | products in a batch                                           |
| `LOJA_CRIACAO_ESPERA_SEGUNDOS`  | `60`                | from a product's failed try to its next                       |
| `LOJA_PRECOS_ORIGEM`            |                     | the supplier's list: an http(s) address or an absolute path   |
| `LOJA_PRECOS_FORMATO`           |                     | `csv` or `json`; by the end of its name when empty            |
| `LOJA_PRECOS_LIMITE_PERCENTUAL` | `20`                | a change above this waits for a person                        |
| `LOJA_PRECOS_ESPERA_HORAS`      | `20`                | how long it waits; unanswered is refused                      |
| `LOJA_PEDIDOS_FOLGA_SEGUNDOS`   | `60`                | how far before an open transaction the next run reads again   |
| `LOJA_FILA_PAUSA_SEGUNDOS`      | `60`                | from a message's failed try to its next                       |
| `LOJA_FILA_PACIENCIA_SEGUNDOS`  | `120`               | how long a consumer waits for a broker that went away         |
| `LOJA_FILA_VISIBILIDADE_SEGUNDOS` | `120`           | how long SQS keeps a batch for its consumer                   |
| `LOJA_FILA_VIGIA_SEGUNDOS`      | `15`                | how often SQS is asked whether a message waits                |
| `LOJA_PARTE_LINHAS`             | `250000`            | rows of one Parquet file                                      |
| `LOJA_TRECHO_LINHAS`            | `500000`            | rows of one chunk of `migracao_completa`                      |
| `LOJA_BALDE`                    | `loja`              | S3 bucket of the stage                                        |
| `LOJA_PAPEL_COPY`               |                     | ARN of the role that Redshift's COPY reads the bucket with    |
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Creation:
    """Of `criacao_produtos`."""

    batches: int
    batch: int
    delay: timedelta


@dataclass(frozen=True)
class Prices:
    """Of `atualizacao_precos`; `limit` is a share: 0.2 for 20 %."""

    origin: str
    form: str
    limit: Decimal
    patience: timedelta


@dataclass(frozen=True)
class Queues:
    """Of the queue workers."""

    pause: timedelta
    patience: timedelta
    visibility: timedelta
    watch: timedelta


@dataclass(frozen=True)
class Transfer:
    """Of what goes from MySQL to the warehouse."""

    bucket: str
    part_rows: int
    chunk_rows: int
    grace: timedelta


def zone() -> str:
    """Return the zone of the timetables."""
    name = os.environ.get("LOJA_FUSO", "America/Sao_Paulo")
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"LOJA_FUSO is {name!r}, no time zone; write it like America/Sao_Paulo") from None


def creation() -> Creation:
    """Read the settings; raise ValueError naming the variable that makes no sense."""
    return Creation(
        batches=number("LOJA_CRIACAO_LOTES", 20, 1, 20),
        batch=number("LOJA_CRIACAO_LOTE", 50, 1),
        delay=timedelta(seconds=number("LOJA_CRIACAO_ESPERA_SEGUNDOS", 60, 0)),
    )


def prices() -> Prices:
    """Read the settings; raise ValueError naming the variable that makes no sense."""
    text = os.environ.get("LOJA_PRECOS_LIMITE_PERCENTUAL", "20")
    try:
        percent = Decimal(text)
    except InvalidOperation:
        percent = Decimal(-1)
    if not percent.is_finite() or percent < 0:
        raise ValueError(f"LOJA_PRECOS_LIMITE_PERCENTUAL is {text!r}; it must be a number of at least 0")
    form = os.environ.get("LOJA_PRECOS_FORMATO", "")
    if form not in ("", "csv", "json"):
        raise ValueError(f"LOJA_PRECOS_FORMATO is {form!r}; it must be csv, json or empty")
    return Prices(
        origin=os.environ.get("LOJA_PRECOS_ORIGEM", ""),
        form=form,
        limit=percent / 100,
        # Below a day: the next day's run waits for this one.
        patience=timedelta(hours=number("LOJA_PRECOS_ESPERA_HORAS", 20, 1, 23)),
    )


def queues() -> Queues:
    """Read the settings; raise ValueError naming the variable that makes no sense."""

    def seconds(name: str, default: int, lowest: int, highest: int) -> timedelta:
        return timedelta(seconds=number(f"LOJA_FILA_{name}_SEGUNDOS", default, lowest, highest))

    return Queues(
        # SQS keeps nothing unseen for more than twelve hours in all, from the delivery to the end of the pause.
        pause=seconds("PAUSA", 60, 0, 36000),
        patience=seconds("PACIENCIA", 120, 1, 3600),
        visibility=seconds("VISIBILIDADE", 120, 10, 7200),
        watch=seconds("VIGIA", 15, 1, 3600),
    )


def transfer() -> Transfer:
    """Read the settings; raise ValueError naming the variable that makes no sense."""
    bucket = os.environ.get("LOJA_BALDE", "loja")
    if not BUCKET.fullmatch(bucket):
        raise ValueError(f"LOJA_BALDE is {bucket!r}, no name of an S3 bucket; it must be like loja-stage")
    return Transfer(
        bucket=bucket,
        part_rows=number("LOJA_PARTE_LINHAS", 250_000, 1),
        chunk_rows=number("LOJA_TRECHO_LINHAS", 500_000, 1),
        grace=timedelta(seconds=number("LOJA_PEDIDOS_FOLGA_SEGUNDOS", 60, 1)),
    )


def copy_role() -> str:
    """Return the ARN of the role that COPY reads S3 with; only Redshift needs one, and its form is checked there."""
    return os.environ.get("LOJA_PAPEL_COPY", "")


def number(name: str, default: int, lowest: int, highest: int | None = None) -> int:
    """Return a variable as a whole number; raise ValueError naming it where it is none, or out of bounds."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < lowest or (highest is not None and int(text) > highest):
        bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"{name} is {text!r}; it must be a whole number {bounds}")
    return int(text)
