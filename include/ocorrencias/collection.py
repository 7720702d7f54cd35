"""One collection: both lists of events, each event once, those of CET-RIO counted by POP and status.

- **Which day is asked for**: that of São Paulo 20 minutes before the run's own time, whatever the clock says when the
  task happens to run. So the run of 00:00 closes the day before: what began and ended after the run of 23:40 is seen
  once at least. What began earlier and is still open is in the list of open events, at any time.
- **An event in both lists** counts once. The list of open events wins, being the present; unless it is stale, and the
  other is not.
- **Stale lists** are refused, unless the run accepts them; the run is marked then.
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
"""From one run to the next: what happened since the last one may be of the day before."""


@dataclass(frozen=True)
class Contagem:
    """How many events of a kind, by the POP's title, have a status."""

    tipo: str
    status: str
    quantidade: int


@dataclass(frozen=True)
class Coleta:
    """What one collection found. `eventos` are CET-RIO's, each once; the numbers are of all that was read."""

    dia: date
    eventos: tuple[Evento, ...]
    contagens: tuple[Contagem, ...]
    recusados: tuple[Recusado, ...]
    de_outros: int
    repetidos: int
    atraso: str | None
    pops: Responsibility


def resolve_day(text: str | None, moment: datetime, now: datetime) -> date:
    """Return the day to ask for: that of the conf, else the run's in São Paulo.

    Raises RequestError for a day that is not one, to come, or further back than the service answers for.
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
    """Read, unnest, join, leave out what is not CET-RIO's, and count; `learn` gets what was learned of POPs, at once.

    Raises what Service raises, and StaleError.
    """
    abertas, todas = service.abertas(), service.desde(day)
    words = "; ".join(f"{name}: {one.atraso}" for name, one in _named(abertas, todas) if one.atraso)
    if words and not accept_stale:
        raise StaleError(
            f"the service gave stale events ({words}); they are refused unless OCORRENCIAS_ACEITAR_DESATUALIZADOS "
            "is 1, or the run's conf has aceitar_desatualizados"
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
    """Return each event once, in the order of ids, and how many were left out as repeated."""
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
