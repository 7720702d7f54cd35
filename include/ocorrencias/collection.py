"""One collection: read both lists of events, keep each event once, count CET-RIO's events by POP and status.

- **The day** of the request is the day in São Paulo 20 minutes before the run's own time. The clock at execution does not
  matter. So the run of 00:00 still reads the day before, and sees events that began and ended after the run of 23:40.
  Events that began earlier and are still open are always in the list of open events.
- **An event in both lists** counts once. The list of open events wins, because it is the present state, unless it is
  stale and the other list is not.
- **Stale lists** are refused, unless the run accepts them. Such a run is marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from include.conventions.errors import RequestError
from include.ocorrencias.errors import StaleError
from include.ocorrencias.models import ZONE, Evento, Lista, Recusado
from include.ocorrencias.responsibility import KnownPop, Responsibility, find
from include.ocorrencias.service import LONGEST_SPAN, Service

BEFORE = timedelta(minutes=20)
"""The time between two runs. Events since the last run may belong to the day before."""


@dataclass(frozen=True)
class Contagem:
    """The number of events with one POP title and one status."""

    tipo: str
    status: str
    quantidade: int


@dataclass(frozen=True)
class Coleta:
    """The result of one collection. `eventos` has CET-RIO's events, each once; the numbers count all events read."""

    dia: date
    eventos: tuple[Evento, ...]
    contagens: tuple[Contagem, ...]
    recusados: tuple[Recusado, ...]
    de_outros: int
    repetidos: int
    atraso: str | None
    pops: Responsibility


def resolve_day(text: str | None, moment: datetime, now: datetime) -> date:
    """Return the day to request: the conf's, or else the run's in São Paulo.

    Raises RequestError for a text that is not a day, a future day, or one that is too far back for the service.
    """
    if text is None:
        return (moment - BEFORE).astimezone(ZONE).date()
    today = now.astimezone(ZONE).date()
    try:
        day = date.fromisoformat(text)
    except (TypeError, ValueError):
        raise RequestError(f"data is {text!r}; write the day like 2026-01-31") from None
    if not today - timedelta(days=LONGEST_SPAN) <= day <= today:
        raise RequestError(
            f"data is {text}; the service answers for the last {LONGEST_SPAN} days, "
            f"{today - timedelta(days=LONGEST_SPAN)} to {today}"
        )
    return day


def collect(
    service: Service,
    day: date,
    known: Mapping[int, KnownPop],
    accept_stale: bool,
    cache: timedelta,
    now: datetime,
    learn: Callable[[KnownPop], object],
) -> Coleta:
    """Read both lists, join them, drop the events that are not CET-RIO's, and count the rest.

    Calls `learn` with each POP as soon as the service has answered for it. Raises what Service raises, and StaleError.
    """
    abertas, todas = service.abertas(), service.desde(day)
    words = "; ".join(f"{name}: {one.atraso}" for name, one in _named(abertas, todas) if one.atraso)
    if words and not accept_stale:
        raise StaleError(
            f"the service gave stale events ({words}); they are refused unless OCORRENCIAS_ACEITAR_DESATUALIZADOS "
            "is 1, or aceitar_desatualizados is true in the run's conf"
        )
    found, repeated = join(abertas, todas)
    pops = find((one.pop_id for one in found), known, service, now, cache, learn)
    kept = tuple(one for one in found if pops.pops[one.pop_id].responsavel)
    return Coleta(
        dia=day,
        eventos=kept,
        contagens=count(kept, pops.pops),
        recusados=abertas.recusados + todas.recusados,
        de_outros=len(found) - len(kept),
        repetidos=repeated,
        atraso=words or None,
        pops=pops,
    )


def join(abertas: Lista, todas: Lista) -> tuple[list[Evento], int]:
    """Return each event once, in the order of ids, and the number of repeated ones."""
    first, second = (todas, abertas) if abertas.atraso and not todas.atraso else (abertas, todas)
    both = [*first.eventos, *second.eventos]
    once: dict[int, Evento] = {}
    for one in both:
        once.setdefault(one.id, one)
    return sorted(once.values(), key=lambda one: one.id), len(both) - len(once)


def count(eventos: tuple[Evento, ...], pops: Mapping[int, KnownPop]) -> tuple[Contagem, ...]:
    """Return the counts by title of the POP and status, sorted by both."""
    counts = Counter((pops[one.pop_id].titulo, one.status.upper()) for one in eventos)
    return tuple(Contagem(tipo, status, number) for (tipo, status), number in sorted(counts.items()))


def _named(abertas: Lista, todas: Lista) -> tuple[tuple[str, Lista], ...]:
    return ("ocorrencias_abertas", abertas), ("ocorrencias", todas)
