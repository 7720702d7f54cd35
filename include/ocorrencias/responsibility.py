"""Find the POPs for which CET-RIO is responsible: those with an activity of CET-RIO, under its short or full name.

An answer of the service is used for a day (`OCORRENCIAS_CACHE_HORAS`). It is stored in the warehouse, so all workers share
it. Only the POPs of this run's events are requested.

- If the service does not answer, an older stored answer is used, with a warning, for at most a week.
- If it does not answer and there is no stored answer, the run fails: both to count and to drop the event would be a guess.
- A POP that is not in the service's list is *unknown*. Its title is `POP <id> desconhecido`. Its events are counted,
  unless its activities, or those stored while it was in the list, show that other agencies are responsible. Each run
  requests it again, because it may be in the list by then. That request comes last, and its failure never fails the run:
  the service may answer 500 for a POP that it does not know.
- Each answer is passed on at once, and stored even if the run fails later, so the next run has fewer requests to make.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from include.ocorrencias.errors import ContractError, ExhaustedError, RefusedError
from include.ocorrencias.models import Atividade
from include.ocorrencias.service import Service

# CET-RIO, CET RIO, CetRio; alone or among other agencies, but not as part of another word.
NAME = re.compile(r"\bcet(?:\s*\W?\s*)rio\b|\bcompanhia de engenharia de trafego\b")
LONGEST_USE = timedelta(days=7)


@dataclass(frozen=True)
class KnownPop:
    """A POP as the service answered at `consultado_em` (UTC)."""

    id: int
    titulo: str
    responsavel: bool
    orgaos: tuple[str, ...]
    consultado_em: datetime


@dataclass(frozen=True)
class Responsibility:
    """The POPs of a run by id, the ids that are missing in the service's list, and warnings for the log."""

    pops: Mapping[int, KnownPop]
    unknown: tuple[int, ...]
    warnings: tuple[str, ...]


def is_cet_rio(activity: Atividade) -> bool:
    """Return whether an activity is CET-RIO's, in any spelling of its name."""
    if _plain(activity.sigla) == "cet":
        return True
    return any(NAME.search(_plain(text)) for text in (activity.sigla, activity.orgao))


def find(
    pop_ids: Iterable[int],
    known: Mapping[int, KnownPop],
    service: Service,
    now: datetime,
    age: timedelta,
    learn: Callable[[KnownPop], object],
) -> Responsibility:
    """Return these POPs. Requests those that are not in `known`, or whose stored answer is older than `age`.

    Calls `learn` with each POP of the service's list as soon as the service has answered for it.

    Raises ExhaustedError, RefusedError or ContractError if there is neither an answer nor a stored one for a POP.
    """
    wanted = sorted(set(pop_ids))
    pops = {pop: known[pop] for pop in wanted if pop in known and now - known[pop].consultado_em < age}
    due = [pop for pop in wanted if pop not in pops]
    usable = {pop for pop in due if pop in known and now - known[pop].consultado_em < LONGEST_USE}
    unknown: list[int] = []
    warnings: list[str] = []
    if not due:
        return Responsibility(pops, (), ())
    try:
        titles, problems = service.pops()
        warnings += problems
        unknown = [pop for pop in due if pop not in titles]
        # First those without a usable stored answer: only they can fail the run.
        for pop in sorted(set(due) - set(unknown), key=lambda pop: (pop in usable, pop)):
            pops[pop] = _known(pop, titles[pop], service.atividades(pop), now)
            learn(pops[pop])
    except (ExhaustedError, ContractError) as error:
        left = [pop for pop in due if pop not in pops and pop not in unknown]
        if missing := [pop for pop in left if pop not in usable]:
            raise type(error)(f"it is not known who is responsible for POP {missing[0]}: {error}") from None
        for pop in left:
            pops[pop] = known[pop]
            warnings.append(
                f"POP {pop}: using the stored answer of {known[pop].consultado_em:%Y-%m-%d %H:%M}Z: {error}"
            )
    for pop in unknown:
        pops[pop] = _unknown(pop, service, now, known.get(pop))
    return Responsibility(pops, tuple(unknown), tuple(warnings))


def unknown_title(pop_id: int) -> str:
    """Return the title of a POP that is missing in the service's list."""
    return f"POP {pop_id} desconhecido"


def _known(pop_id: int, title: str, activities: Iterable[Atividade], now: datetime) -> KnownPop:
    activities = tuple(activities)
    agencies = sorted({one.sigla or one.orgao for one in activities} - {""})
    return KnownPop(pop_id, title, any(map(is_cet_rio, activities)), tuple(agencies), now)


def _unknown(pop_id: int, service: Service, now: datetime, before: KnownPop | None) -> KnownPop:
    try:
        activities = service.atividades(pop_id)
    except (ExhaustedError, RefusedError, ContractError):
        activities = ()  # the service does not know it either
    if activities:
        return _known(pop_id, unknown_title(pop_id), activities, now)
    return KnownPop(pop_id, unknown_title(pop_id), before is None or before.responsavel, (), now)


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold().strip()
