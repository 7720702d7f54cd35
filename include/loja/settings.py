"""The settings of the store's DAGs. docs/settings.md lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from include.conventions.queues import Queue
from include.conventions.settings import (
    FromEnvironment,
    choice,
    hours,
    percent,
    seconds,
    setting,
    text,
    whole,
    zone,
)

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _bucket(given: str) -> str:
    if not _BUCKET.fullmatch(given):
        raise ValueError
    return given


@dataclass(frozen=True)
class Timetables(FromEnvironment):
    """For all of the store's DAGs that run on a timetable."""

    zone: str = zone("LOJA_FUSO", "America/Sao_Paulo", meaning="zone of the timetables")


def _workers(variable: str, default: Queue, dags: str) -> Any:
    return setting(
        variable,
        default.value,
        "high, default or low",
        lambda given: Queue(given).value,
        meaning=f"queue of Celery in which the tasks of {dags} wait for a worker",
    )


@dataclass(frozen=True)
class Workers(FromEnvironment):
    """The queues of Celery, one for each group of DAGs: workers of its own can serve it."""

    products: str = _workers(
        "LOJA_TAREFAS_PRODUTOS", Queue.DEFAULT, "`criacao_produtos` and `atualizacao_precos`"
    )
    messages: str = _workers(
        "LOJA_TAREFAS_MENSAGENS", Queue.DEFAULT, "`consumir_fila_rabbitmq` and `consumir_fila_sqs`"
    )
    transfer: str = _workers(
        "LOJA_TAREFAS_CARGAS", Queue.LOW, "`etl_produtos`, `etl_pedidos` and `migracao_completa`"
    )


@dataclass(frozen=True)
class Creation(FromEnvironment):
    """For `criacao_produtos`."""

    batches: int = whole(
        "LOJA_CRIACAO_LOTES", 20, 1, 20, meaning="how many batches one run of `criacao_produtos` may have"
    )
    batch: int = whole("LOJA_CRIACAO_LOTE", 50, 1, meaning="products in a batch")
    delay: timedelta = seconds(
        "LOJA_CRIACAO_ESPERA_SEGUNDOS", 60, 0, meaning="pause between a product's failed try and the next one"
    )


@dataclass(frozen=True)
class Prices(FromEnvironment):
    """For `atualizacao_precos`. `limit` is a fraction: 0.2 means 20 %."""

    origin: str = text(
        "LOJA_PRECOS_ORIGEM", "", meaning="the supplier's list: an http(s) address or an absolute path"
    )
    form: str = choice(
        "LOJA_PRECOS_FORMATO", "csv", "json", meaning="format of the list; empty: by the ending of its name"
    )
    limit: Decimal = percent(
        "LOJA_PRECOS_LIMITE_PERCENTUAL", 20, meaning="a larger change waits for a person"
    )
    # Less than a day: the next day's run waits for this one.
    patience: timedelta = hours(
        "LOJA_PRECOS_ESPERA_HORAS",
        20,
        1,
        23,
        meaning="how long a change waits for a person; then it is refused",
    )


@dataclass(frozen=True)
class Queues(FromEnvironment):
    """For the consumers of the queues."""

    # SQS hides a message for at most twelve hours in all, from its delivery to the end of the pause.
    pause: timedelta = seconds(
        "LOJA_FILA_PAUSA_SEGUNDOS",
        60,
        0,
        36000,
        meaning="pause between a message's failed try and the next one",
    )
    patience: timedelta = seconds(
        "LOJA_FILA_PACIENCIA_SEGUNDOS",
        120,
        1,
        3600,
        meaning="how long a consumer waits for a broker that does not answer",
    )
    visibility: timedelta = seconds(
        "LOJA_FILA_VISIBILIDADE_SEGUNDOS",
        120,
        10,
        7200,
        meaning="how long SQS hides a batch from other consumers",
    )
    watch: timedelta = seconds(
        "LOJA_FILA_VIGIA_SEGUNDOS",
        15,
        1,
        3600,
        meaning="interval at which the watcher checks SQS for waiting messages",
    )


@dataclass(frozen=True)
class Transfer(FromEnvironment):
    """For the DAGs that load MySQL's tables into the warehouse."""

    bucket: str = setting(
        "LOJA_BALDE",
        "loja",
        "the name of an S3 bucket, like loja-stage",
        _bucket,
        meaning="S3 bucket of the stage",
    )
    part_rows: int = whole("LOJA_PARTE_LINHAS", 250_000, 1, meaning="rows of one Parquet file")
    chunk_rows: int = whole(
        "LOJA_TRECHO_LINHAS", 500_000, 1, meaning="rows of one chunk of `migracao_completa`"
    )
    grace: timedelta = seconds(
        "LOJA_PEDIDOS_FOLGA_SEGUNDOS",
        60,
        1,
        meaning="the next run of `etl_pedidos` re-reads from this long before the oldest open transaction",
    )


@dataclass(frozen=True)
class Copy(FromEnvironment):
    """For Redshift's COPY. `destination.redshift` checks the role's form."""

    role: str = text(
        "LOJA_PAPEL_COPY", "", meaning="ARN of the role with which Redshift's COPY reads the bucket"
    )
