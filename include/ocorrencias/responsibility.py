"""For which POPs CET-RIO is responsible: those with an activity of its own, by the agency's short or full name.

What the service answered is known for a day (`OCORRENCIAS_CACHE_HORAS`), by every worker, since it is kept in the
warehouse. Asked is only about POPs that events of this run have.

- The service is away and something older than a day is known: that is used, with a warning, for at most a week.
- It is away and nothing is known: the run fails; to count or to leave out would both be a guess.
- A POP that is not in the service's list is *unknown*. It is named `POP <id> desconhecido`, it is counted unless the
  service says, or said when it was in the list, that others are responsible, and it is asked about at each run, for it
  may be in the list by then. It is asked about last, and no failure of that question fails the run: a service may well
  answer 500 for what it does not know.
- What is learned is handed over at once, and so outlives a run that fails later: the next one has less to ask.
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

# CET-RIO, CET RIO, CetRio; alone or beside other agencies, but not as a part of another word.
NAME = re.compile(r"\bcet(?:\s*\W?\s*)rio\b|\bcompanhia de engenharia de trafego\b")
LONGEST_USE = timedelta(days=7)


@dataclass(frozen=True)
class KnownPop:
    """What is known of a POP, and since when (UTC)."""

    id: int
    titulo: str
    responsavel: bool
    orgaos: tuple[str, ...]
    consultado_em: datetime


@dataclass(frozen=True)
class Responsibility:
    """The POPs of a run by id; the ids that the service's list lacks; what to warn of."""

    pops: Mapping[int, KnownPop]
    unknown: tuple[int, ...]
    warnings: tuple[str, ...]


def is_cet_rio(activity: Atividade) -> bool:
    """Return whether an activity is CET-RIO's, however its name is written."""
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
    """Return what is known of these POPs, asking the service about those that are new or were asked too long ago.

    `learn` is called with each POP of the service's list as soon as its answer is there.

    Raises ExhaustedError, RefusedError or ContractError when it gives no answer about one of which nothing is known.
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
        # Those of which nothing is known first: they are what the run can fail of.
        for pop in sorted(set(due) - set(unknown), key=lambda pop: (pop in usable, pop)):
            pops[pop] = _known(pop, titles[pop], service.atividades(pop), now)
            learn(pops[pop])
    except (ExhaustedError, ContractError) as error:
        left = [pop for pop in due if pop not in pops and pop not in unknown]
        if missing := [pop for pop in left if pop not in usable]:
            raise type(error)(f"who is responsible for POP {missing[0]} is not known: {error}") from None
        for pop in left:
            pops[pop] = known[pop]
            warnings.append(
                f"POP {pop}: using what was known {known[pop].consultado_em:%Y-%m-%d %H:%M}Z: {error}"
            )
    for pop in unknown:
        pops[pop] = _unknown(pop, service, now, known.get(pop))
    return Responsibility(pops, tuple(unknown), tuple(warnings))


def unknown_title(pop_id: int) -> str:
    """Return the name of a POP that the service's list lacks."""
    return f"POP {pop_id} desconhecido"


def _known(pop_id: int, title: str, activities: Iterable[Atividade], now: datetime) -> KnownPop:
    activities = tuple(activities)
    agencies = sorted({one.sigla or one.orgao for one in activities} - {""})
    return KnownPop(pop_id, title, any(map(is_cet_rio, activities)), tuple(agencies), now)


def _unknown(pop_id: int, service: Service, now: datetime, before: KnownPop | None) -> KnownPop:
    try:
        activities = service.atividades(pop_id)
    except (ExhaustedError, RefusedError, ContractError):
        activities = ()  # not known there either
    if activities:
        return _known(pop_id, unknown_title(pop_id), activities, now)
    return KnownPop(pop_id, unknown_title(pop_id), before is None or before.responsavel, (), now)


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold().strip()
