"""The contract of the service: events, POPs and activities, from parsed JSON to checked values.

In a list of events, an entry may be a cached list, `{"eventos": […]}`, which may be nested. An event that breaks the
contract is set aside with field and reason; the other events are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from include.ocorrencias.errors import ContractError

ZONE = ZoneInfo("America/Sao_Paulo")
DEEPEST = 5
LONGEST_SHOWN = 200
LONGEST_KEPT = 4000
TOO_DEEP = "(nested too deeply to show)"


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return None if isinstance(value, str) and not value.strip() else value


def _text(value: Any) -> Any:
    # One line: these texts are written into CSV lines and messages.
    return "" if value is None else " ".join(value.split()) if isinstance(value, str) else value


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a text like 2026-01-31 23:59:00.0")
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"):
        try:
            found = datetime.strptime(value, form).replace(tzinfo=ZONE)
        except ValueError:
            continue
        if 2000 <= found.year < 2100:
            return found
    raise ValueError("must be a time of this century like 2026-01-31 23:59:00.0")


def _count(value: Any) -> int:
    if value is not None and not isinstance(value, list):
        raise ValueError("must be a list")
    return len(value or [])


# Field stands before BeforeValidator, so that the constraint applies to the validator's result.
Id = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_whole)]
Line = Annotated[str, Field(max_length=2000), BeforeValidator(_text)]
Name = Annotated[str, Field(min_length=1, max_length=2000), BeforeValidator(_text)]


class Evento(BaseModel):
    """One event. Texts are on one line, `inicio` has a time zone. Coordinates that are 0/0 or empty mean no place."""

    model_config = ConfigDict(frozen=True)

    id: Id
    pop_id: Id
    status: Name
    inicio: Annotated[datetime, BeforeValidator(_moment)]
    titulo: Line = ""
    tipo: Line = ""
    bairro: Line = ""
    gravidade: Line = ""
    prazo: Line = ""
    descricao: Annotated[str, Field(max_length=100_000), BeforeValidator(_text)] = ""
    latitude: Annotated[Annotated[float, Field(ge=-90, le=90)] | None, BeforeValidator(_number)] = None
    longitude: Annotated[Annotated[float, Field(ge=-180, le=180)] | None, BeforeValidator(_number)] = None
    informe_id: Annotated[Annotated[int, Field(ge=0, lt=2**63)] | None, BeforeValidator(_number)] = None
    anexos: Annotated[int, BeforeValidator(_count)] = 0

    @model_validator(mode="after")
    def _have_both_coordinates_or_none(self) -> Evento:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude must both be there, or neither")
        return self

    @property
    def place(self) -> tuple[float, float] | None:
        """Return latitude and longitude in degrees, or None if the event has no place."""
        if self.latitude is None or self.longitude is None or (self.latitude == 0 and self.longitude == 0):
            return None
        return self.latitude, self.longitude


class Pop(BaseModel):
    """A standard operating procedure."""

    id: Id
    titulo: Name


class Atividade(BaseModel):
    """One agency's action in a procedure."""

    sigla: Line = ""
    orgao: Line = ""
    acao: Annotated[str, BeforeValidator(_text)] = ""


@dataclass(frozen=True)
class Recusado:
    """An event that was set aside: its list, its id (empty if it has none), the wrong field, the reason, its JSON."""

    lista: str
    evento_id: str
    campo: str
    motivo: str
    conteudo: str

    def __str__(self) -> str:
        return f"{self.lista}: event {self.evento_id or '(without id)'}: {self.campo}: {self.motivo}"


@dataclass(frozen=True)
class Lista:
    """The events of one answer. `atraso` is the service's message if the events are stale, otherwise None."""

    eventos: tuple[Evento, ...]
    recusados: tuple[Recusado, ...]
    atraso: str | None


def parse_eventos(body: Any, lista: str) -> Lista:
    """Return the events of an answer. Raises ContractError if it has no list of events."""
    if not isinstance(body, dict):
        raise ContractError(f"{lista}: the answer must be an object, and is {_shown(body)}")
    words = [_said(body["error"])] if body.get("error") else []
    if "eventos" not in body:
        said = f"; it says {words[0]}" if words else ""
        raise ContractError(f"{lista}: the answer has no key eventos{said}")
    eventos: list[Evento] = []
    recusados: list[Recusado] = []
    for entry in _unnested(body["eventos"], lista, words):
        try:
            eventos.append(Evento.model_validate(entry))
        except ValidationError as error:
            recusados.append(_recusado(entry, error, lista))
    return Lista(tuple(eventos), tuple(recusados), "; ".join(words) or None)


def _unnested(entries: Any, lista: str, words: list[str], depth: int = 0) -> Iterator[Any]:
    if depth > DEEPEST:
        raise ContractError(f"{lista}: eventos are nested more than {DEEPEST} times")
    if isinstance(entries, dict) and "eventos" in entries:
        entries = [entries]
    if not isinstance(entries, list):
        raise ContractError(f"{lista}: eventos must be a list, and is {_shown(entries)}")
    for entry in entries:
        if isinstance(entry, dict) and "eventos" in entry and "id" not in entry:
            if entry.get("error"):
                words.append(_said(entry["error"]))
            yield from _unnested(entry["eventos"], lista, words, depth + 1)
        else:
            yield entry


def parse_pops(body: Any) -> tuple[dict[int, str], list[str]]:
    """Return the titles by POP id, and a message for each invalid entry.

    Raises ContractError if the service answers without a list, or with an empty one.
    """
    if not isinstance(body, dict) or not isinstance(body.get("objeto"), list):
        raise ContractError(f"pops: the answer must have a list objeto, and is {_shown(body)}")
    if body.get("retorno") != "OK":
        raise ContractError(f"pops: retorno is {_shown(body.get('retorno'))}: {_said(body.get('mensagem'))}")
    titles: dict[int, str] = {}
    problems: list[str] = []
    for entry in body["objeto"]:
        try:
            pop = Pop.model_validate(entry)
            titles[pop.id] = pop.titulo
        except ValidationError as error:
            field, reason = _first(error)
            problems.append(f"pops: {_shown(entry)}: {field}: {reason}")
    if not titles:
        raise ContractError("pops: the list of POPs is empty")
    return titles, problems


def parse_atividades(body: Any, pop_id: int) -> tuple[Atividade, ...]:
    """Return the activities of a POP. Raises ContractError, naming POP and field, for an invalid one."""
    where = f"activities of POP {pop_id}"
    if not isinstance(body, dict) or not isinstance(body.get("atividades"), list):
        raise ContractError(f"{where}: the answer must have a list atividades, and is {_shown(body)}")
    try:
        return tuple(Atividade.model_validate(entry) for entry in body["atividades"])
    except ValidationError as error:
        raise ContractError(f"{where}: {': '.join(_first(error))}") from None


def _recusado(entry: Any, error: ValidationError, lista: str) -> Recusado:
    event_id = entry.get("id") if isinstance(entry, dict) else None
    # ASCII, because half of a surrogate pair is valid JSON but can't be encoded as UTF-8.
    try:
        text = json.dumps(entry, ensure_ascii=True)[:LONGEST_KEPT]
    except RecursionError:
        text = TOO_DEEP
    return Recusado(lista, "" if event_id is None else _shown(event_id), *_first(error), text)


def _first(error: ValidationError) -> tuple[str, str]:
    """Return field and reason of the first error."""
    found = error.errors(include_url=False)[0]
    field = str(found["loc"][0]) if found["loc"] else "event"
    reason = found["msg"].removeprefix("Value error, ")
    return field, f"{reason}, and is {_shown(found['input'])}" if found["type"] != "missing" else "is missing"


def _shown(value: Any) -> str:
    """Return a value for a message: short, on one line, valid UTF-8."""
    try:
        text = repr(value)
    except RecursionError:
        return TOO_DEEP
    return text[:LONGEST_SHOWN].encode(errors="backslashreplace").decode()


def _said(value: Any) -> str:
    """Return the service's own message, on one line."""
    return _shown(value) if not isinstance(value, str) else _shown(" ".join(value.split()))[1:-1]
