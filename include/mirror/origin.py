"""Whether the source is still what the warehouse's rows are from: the same database, and not gone back in time.

A source that has gone back lacks commits that were read, gives their transaction ids and times again, and so would be read
wrongly without a word. Somebody has to accept it; then everything is read again, and compared as a whole.
"""

from __future__ import annotations

from include.mirror.errors import SourceError
from include.mirror.ledger import Ledger
from include.mirror.source.session import Connection
from include.mirror.source.transactions import Identity, position

ACCEPT = 'run it once with conf {"aceitar_fonte": true}: everything is read again'


def check_source(
    ledger: Ledger, source: Connection, identity: Identity, *, accept: bool = False
) -> str | None:
    """Return why everything is to be read again because the source is not what it was, None where it goes on from there.

    Raises SourceError for another one, or one that has gone back in time, that nobody has accepted.
    """
    before = ledger.source()
    if before is None:
        return None
    if not identity.is_of(before):
        if accept:
            return f"the source is {identity} now, and was {before}"
        raise SourceError(
            f"the warehouse {ledger.warehouse.storage} belongs to another source: it holds {before}, and this is "
            f"{identity}. If this is the same data after a restore, a move or an upgrade, {ACCEPT}. Another database needs "
            "a mirror with storage and views of its own"
        )
    # After the ledger: what another pass notes meanwhile would look like a step back.
    if (why := position(source).lost(before.position)) is None:
        return None
    back = (
        f"the source has gone back in time: {before} was read up to {before.position} of its log, and {why}"
    )
    if accept:
        return back
    raise SourceError(
        f"{back}. It was restored from an older state, or a standby was promoted that had not received everything. What was "
        "committed in between is lost there, and still in the warehouse. If this is the wrong server, mend the connection. "
        f"If it is to stay so, {ACCEPT}, and what the source has no more is deleted"
    )
