"""Checks that the source is still the one that the warehouse's rows come from: the same database, not an older state of it.

A source that has gone back in time lacks commits that were read. It gives their transaction ids and times to other commits,
so the mirror would miss rows silently. A person has to accept it. Then everything is read again and compared.
"""

from __future__ import annotations

from include.mirror.errors import SourceError
from include.mirror.source.transactions import Identity
from include.mirror.warehouse.client import Warehouse

ACCEPT = 'run it once with conf {"aceitar_fonte": true}: everything is read again'


def check_source(
    warehouse: Warehouse, before: Identity | None, identity: Identity, *, accept: bool = False
) -> str | None:
    """Return why everything has to be read again, None if the source continues the one that was read before.

    `before` is the source that the ledger notes, None for none. `identity` has to be asked for after it: what another pass
    notes meanwhile would look like a step back. Raises SourceError for another source, or one that has gone back in time,
    that nobody has accepted.
    """
    if before is None:
        return None
    if not identity.is_same(before):
        if accept:
            return f"the source is {identity} now, and was {before}"
        raise SourceError(
            f"the warehouse {warehouse.storage} belongs to another source: it holds {before}, and this is "
            f"{identity}. If this is the same data after a restore, a move or an upgrade, {ACCEPT}. Another database needs "
            "its own mirror with other databases for storage and views"
        )
    if (why := identity.position.lost(before.position)) is None:
        return None
    back = (
        f"the source has gone back in time: {before} was read up to {before.position} of its log, and {why}"
    )
    if accept:
        return back
    raise SourceError(
        f"{back}. It was restored from an older state, or a standby was promoted that had not received everything. Later "
        "commits are lost in the source, and still in the warehouse. If this is the wrong server, correct the connection. "
        f"If it is the right one, {ACCEPT}, and rows that are no longer in the source are deleted"
    )
