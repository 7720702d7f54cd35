"""The store's messages: their format, and the check that refuses anything else as poison.

    {"tipo": "produto", "id": "PRODUTO-0001", "timestamp": "2026-11-21T15:00:00Z",
     "dados": {"acao": "criar", "metadados": {"origem": "app", "prioridade": "alta"}}}

`id` identifies the message for ever: another message with the same id changes nothing. It is PRODUTO, PEDIDO or USUARIO,
as `tipo`, then a hyphen and at least four digits. Unknown keys are ignored.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from enum import IntEnum
from functools import cached_property
from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field, ValidationError, field_validator, model_validator

Broker = Literal["rabbitmq", "sqs"]
TYPES = ("produto", "pedido", "usuario")
QUEUES = tuple(f"{name}-fila" for name in TYPES)
"""On both brokers. A queue may contain messages of another type: `tipo` decides the effect, not the queue."""
LARGEST = 240 * 1024
"""The largest body in bytes. A message of the store has about 200; a larger body is refused without parsing it.

With this limit, a message and its reason fit into a dead letter on both brokers.
"""


class Poison(Exception):
    """A body that is not a message of the store, whatever is retried. The text is the reason."""


class Priority(IntEnum):
    """A higher number is more urgent."""

    baixa = 0
    media = 1
    alta = 2


class Metadata(BaseModel):
    """Where a message comes from, and how urgent it is."""

    origem: Literal["app", "site", "api"]
    prioridade: Literal["alta", "media", "baixa"]


class Data(BaseModel):
    """The action, with its metadata."""

    acao: Literal["criar", "atualizar", "deletar"]
    metadados: Metadata


class Message(BaseModel):
    """A valid message."""

    tipo: Literal["produto", "pedido", "usuario"]
    id: str = Field(max_length=40, pattern=r"^(PRODUTO|PEDIDO|USUARIO)-[0-9]{4,}$")
    timestamp: AwareDatetime
    dados: Data

    @model_validator(mode="after")
    def _is_named_after_its_type(self) -> Message:
        if not self.id.startswith(f"{self.tipo.upper()}-"):
            raise ValueError(
                f"id {self.id} does not fit tipo {self.tipo}: it must begin with {self.tipo.upper()}-"
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
        """Return its time as a naive datetime in UTC, as the database stores it."""
        return self.timestamp.astimezone(UTC).replace(tzinfo=None)

    @cached_property
    def digest(self) -> bytes:
        """Return 32 bytes, which are equal for messages with equal content."""
        return hashlib.sha256(self.model_dump_json().encode()).digest()


def parse(body: bytes) -> Message:
    """Return the message in a body. Raises Poison, naming the field and what would be right."""
    if len(body) > LARGEST:
        raise Poison(f"{len(body)} bytes; a message has at most {LARGEST}")
    try:
        content = json.loads(body)
    except UnicodeDecodeError:
        raise Poison("not UTF-8") from None
    # Deeply nested brackets raise RecursionError.
    except (ValueError, RecursionError) as error:
        raise Poison(f"not JSON: {error}") from None
    if not isinstance(content, dict):
        raise Poison(f"a JSON {type(content).__name__}; it must be an object")
    try:
        return Message.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "message"
        shown = "" if isinstance(first["input"], dict) else f" (not {str(first['input'])[:60]!r})"
        raise Poison(f"{place}: {first['msg']}{shown}") from None


def priority(body: bytes) -> Priority:
    """Return a body's priority; that of poison is `baixa`."""
    try:
        return parse(body).priority
    except Poison:
        return Priority.baixa


def key(body: bytes) -> str:
    """Return the key under which a body's failures are counted: its message's id, if it has one, and its digest.

    The id alone is not enough: two bodies with the same id but different contents have their own failures.
    """
    return read(body)[0]


def read(body: bytes) -> tuple[str, Message | Poison]:
    """Return a body's key, and the message in it or why there is none."""
    digest = f"sha256:{hashlib.sha256(body).hexdigest()[:32]}"
    try:
        message = parse(body)
    except Poison as poison:
        return digest, poison
    return f"{message.id} {digest}", message
