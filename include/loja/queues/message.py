"""The store's messages: what one looks like, and what is refused as poison before anything is done with it.

    {"tipo": "produto", "id": "PRODUTO-0001", "timestamp": "2026-11-21T15:00:00Z",
     "dados": {"acao": "criar", "metadados": {"origem": "app", "prioridade": "alta"}}}

`id` names the message, once and for all: whatever arrives again under it changes nothing. It is PRODUTO, PEDIDO or
USUARIO after its `tipo`, and four digits or more. Keys that nobody here reads are let through.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from enum import IntEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field, ValidationError, field_validator, model_validator

Broker = Literal["rabbitmq", "sqs"]
TYPES = ("produto", "pedido", "usuario")
QUEUES = tuple(f"{name}-fila" for name in TYPES)
"""On either broker. A message of another type is taken from any of them: its effect is by its own type."""
LARGEST = 240 * 1024
"""Bytes of a body. A message of the store has some 200: what is larger is no such message, and is not even parsed.

Whatever is a message fits among the dead letters, with its reason, on both brokers.
"""


class Poison(Exception):
    """A body that is no message of the store, and never will be; the text says why."""


class Priority(IntEnum):
    """The more urgent, the higher."""

    baixa = 0
    media = 1
    alta = 2


class Metadata(BaseModel):
    """Where a message comes from, and how much it hurries."""

    origem: Literal["app", "site", "api"]
    prioridade: Literal["alta", "media", "baixa"]


class Data(BaseModel):
    """What is to be done."""

    acao: Literal["criar", "atualizar", "deletar"]
    metadados: Metadata


class Message(BaseModel):
    """A message that makes sense."""

    tipo: Literal["produto", "pedido", "usuario"]
    id: str = Field(max_length=40, pattern=r"^(PRODUTO|PEDIDO|USUARIO)-[0-9]{4,}$")
    timestamp: AwareDatetime
    dados: Data

    @model_validator(mode="after")
    def _is_named_after_its_type(self) -> Message:
        if not self.id.startswith(f"{self.tipo.upper()}-"):
            raise ValueError(
                f"id {self.id} is none of tipo {self.tipo}: it must begin with {self.tipo.upper()}-"
            )
        return self

    @field_validator("timestamp")
    @classmethod
    def _has_a_time_in_utc(cls, value: datetime) -> datetime:
        try:
            value.astimezone(UTC)
        except OverflowError:
            raise ValueError("must lie in the years 1 to 9999 in UTC too") from None
        return value

    @property
    def priority(self) -> Priority:
        """Return how urgent it is."""
        return Priority[self.dados.metadados.prioridade]

    @property
    def at(self) -> datetime:
        """Return its time as UTC without a zone, as the database keeps it."""
        return self.timestamp.astimezone(UTC).replace(tzinfo=None)

    @property
    def digest(self) -> bytes:
        """Return 32 bytes that two messages share when they say the same."""
        return hashlib.sha256(self.model_dump_json().encode()).digest()


def parse(body: bytes) -> Message:
    """Return the message in a body. Raises Poison naming the field and what would be right."""
    if len(body) > LARGEST:
        raise Poison(f"{len(body)} bytes; a message has at most {LARGEST}")
    try:
        content = json.loads(body)
    except UnicodeDecodeError:
        raise Poison("not UTF-8") from None
    # A body of brackets alone is deeper than the parser goes.
    except (ValueError, RecursionError) as error:
        raise Poison(f"no JSON: {error}") from None
    if not isinstance(content, dict):
        raise Poison(f"a JSON {type(content).__name__}; a message is an object")
    try:
        return Message.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "message"
        shown = "" if isinstance(first["input"], dict) else f" (not {str(first['input'])[:60]!r})"
        raise Poison(f"{place}: {first['msg']}{shown}") from None


def priority(body: bytes) -> Priority:
    """Return how urgent a body is: poison is never urgent."""
    try:
        return parse(body).priority
    except Poison:
        return Priority.baixa


def key(body: bytes) -> str:
    """Return what failures of a body are counted under: its digest, after the message's id where it has one.

    Not the id alone: what is known of one content says nothing of another that came under the same id.
    """
    digest = f"sha256:{hashlib.sha256(body).hexdigest()[:32]}"
    try:
        return f"{parse(body).id} {digest}"
    except Poison:
        return digest
