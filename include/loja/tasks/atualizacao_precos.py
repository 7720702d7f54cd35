"""The work of the tasks of `atualizacao_precos`."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing

from include.loja import connections
from include.loja.products import price_lists, supplier
from include.loja.products.price_lists import Decision, Question
from include.loja.products.prices import parse, propose
from include.loja.settings import Prices

log = logging.getLogger(__name__)


def read(settings: Prices, run: str) -> list[Question]:
    """Fetch the list and store its proposals. Return the question to a person, or an empty list if there is none."""
    content, form = supplier.read(settings.origin, settings.form, connections.supplier())
    lines = parse(content, form)
    with closing(connections.mysql()) as connection:
        proposals = propose(lines, price_lists.catalogue(connection), settings.limit)
        price_lists.save(connection, run, supplier.shown(settings.origin), content, proposals)
        asked = price_lists.question(connection, run)
    log.info("%d lines: %s", len(lines), dict(Counter(proposal.decision for proposal in proposals)))
    for proposal in [proposal for proposal in proposals if proposal.decision == "invalido"][:100]:
        log.warning("line %d: %s", proposal.number, proposal.reason)
    return [] if asked is None else [asked]


def apply(run: str, approved: str | None, by: str | None) -> dict[str, int]:
    """Apply the run's list; return the number of lines per result. `approved`: the digest of the approved changes."""
    with closing(connections.mysql()) as connection:
        report = price_lists.apply(connection, run, Decision(approved, by))
    log.info("%s", report)
    return report
