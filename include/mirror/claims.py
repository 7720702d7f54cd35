"""Claims: the reads that a run has planned. Other runs of the schedule leave these reads to it while it is under way.

Runs of one mirror may overlap. While one run reads a whole year, the next runs read new rows and leave the year alone.
Correctness does not depend on claims: reads commute, so a read that two runs do only costs time. But a claim of a run that
has ended must not keep other runs from reading.

One run plans at a time, under an advisory lock in the source. It writes its claim before it reads anything.

| a run is killed                  | what the next planning sees                                                   |
|----------------------------------|-------------------------------------------------------------------------------|
| before it writes its claim       | nothing                                                                       |
| after that, and is retried       | the claim, until the retry plans: a run's later claim replaces the earlier    |
| after that, and has failed       | a claim of a run that has ended, which does not count                         |
| with some of its reads done      | the same, and ledger rows of those reads                                      |

Planning asks which runs have ended before it reads the ledger: so all reads of an ended run are in the ledger. A claim on a
table does not count if the table has since been rebuilt, must be read from the start, or was set aside by that run. Claims
are for expensive reads: windows, re-reads, scans, copies and sweeps. Each run looks for deleted rows itself; otherwise they
would wait for a run that takes hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from uuid import UUID

import psycopg
from pydantic import TypeAdapter

from include.mirror.errors import SourceUnavailableError
from include.mirror.ledger import CLAIMS, Answers, Ledger, WorkKey, identity
from include.mirror.plan import Copy, LedgerState, Read, Scan, Sweep, Work, instant
from include.mirror.source.session import Connection, one, run
from include.mirror.source.transactions import OLDEST_BEGIN
from include.mirror.warehouse.client import utc
from include.mirror.window import Window

LOCK = 0x706C616E
"""First half of the key of the lock under which runs plan; the second half is a hash of the mirror's name."""

FRESH = timedelta(hours=1)
"""A run of a requested range claims no rows that are newer than this at its planning: the schedule reads them as well."""

IsLive = Callable[[str], bool]
"""Returns whether the run with this id may still do its planned reads."""

_WHOLE = (Scan, Copy, Sweep)

_works: TypeAdapter[tuple[Work, ...]] = TypeAdapter(tuple[Work, ...])


_KEY = "$1::int, hashtext($2)"


def take_planning_lock(source: Connection, mirror: str) -> datetime | None:
    """Take the lock under which a mirror plans. The session holds it until it ends.

    Returns since when a transaction of this database may be open by then: see `OLDEST_BEGIN`. Raises SourceUnavailableError
    if another run holds the lock for too long.
    """
    # Mirrors whose names have the same hash wait for each other, which harms nothing. The lock first: what stands behind
    # FROM is done before anything that is selected.
    locked = f"(SELECT pg_advisory_lock({_KEY}) OFFSET 0) AS locked"
    try:
        (behind,) = one(source, f"SELECT ({OLDEST_BEGIN}) FROM {locked}", (LOCK, mirror))  # noqa: S608 - constants
    except psycopg.errors.LockNotAvailable:
        raise SourceUnavailableError(
            f"another run of the mirror {mirror} has been planning for a long time: run this one again"
        ) from None
    return behind if behind is None else behind.astimezone(UTC)


def release_planning_lock(source: Connection, mirror: str) -> None:
    """Give the lock back before the session ends."""
    run(source, f"SELECT pg_advisory_unlock({_KEY})", (LOCK, mirror))


@dataclass(frozen=True)
class Claims:
    """The reads of runs under way: windows, ledger rows that re-reads settle, and for other reads (kind, table).

    `over` are the plans of runs that have ended or have planned again.
    """

    windows: tuple[Window, ...] = ()
    settles: frozenset[UUID] = frozenset()
    tables: frozenset[WorkKey] = frozenset()
    over: tuple[UUID, ...] = ()

    def with_claims_done(self, state: LedgerState) -> LedgerState:
        """Return the ledger's state as if all claimed windows and re-reads were done."""
        return replace(
            state,
            coverage=[*state.coverage, *self.windows],
            pending=[row for row in state.pending if row.id not in self.settles],
        )

    def has(self, work: Work) -> bool:
        """Return whether a read is claimed. Windows and re-reads are not looked at: see `with_claims_done`."""
        return identity(work) in self.tables


def read(ledger: Ledger, noted: Answers, run_id: str, is_live: IsLive) -> Claims:
    """Return what other runs are about to read, of the claims that are `noted`.

    It has to be called before the ledger's state is read.
    """
    works: list[Work] = []
    over: list[UUID] = []
    seen = {run_id}
    forgotten: dict[str, datetime] | None = None
    for plan, other, planned_at, reads in sorted(noted.rows["claims"], key=itemgetter(2), reverse=True):
        if other in seen or not is_live(other):
            over.append(plan)
            continue
        seen.add(other)
        if forgotten is None:
            forgotten = ledger.ask("forgotten").forgotten
        so_far, at = ledger.ask("refused", "done", plan=plan), utc(planned_at)
        aside, done = so_far.refused, so_far.done
        works += [
            work
            for work in _works.validate_json(reads)
            if work.tabela not in aside
            and identity(work) not in done
            and forgotten.get(work.tabela, at) <= at
            and instant(ledger.built.get(work.tabela, 0)) <= at
        ]
    windows = [work for work in works if isinstance(work, Read)]
    return Claims(
        tuple(work.window for work in windows if work.reread is None),
        frozenset(row for work in windows if work.reread for row in work.reread.settles),
        frozenset(identity(work) for work in works if isinstance(work, _WHOLE)),
        tuple(over),
    )


def note(
    ledger: Ledger,
    plan: UUID,
    run_id: str,
    reads: Iterable[Work],
    now: datetime,
    over: Sequence[UUID] = (),
) -> None:
    """Write the claim of a plan, and which other plans are over. `now` is the source's clock after tables were prepared."""
    rows = [
        (plan, run_id, _works.dump_json(tuple(reads)).decode(), False),
        *((one, "", "", True) for one in over),
    ]
    ledger.warehouse.insert(
        ledger.client,
        CLAIMS,
        [
            {"plan": one, "run_id": by, "planned_at": now, "reads": works, "has_ended": has_ended}
            for one, by, works, has_ended in rows
        ],
    )


def of_range(reads: Iterable[Work], now: datetime) -> list[Work]:
    """Return the reads that a run of a requested range claims: windows, up to FRESH before `now`.

    Such a run may take hours, and new rows must not wait for it.
    """
    until = now - FRESH
    return [
        Read(replace(read.window, fim=min(read.window.fim, until)))
        for read in reads
        if isinstance(read, Read) and read.reread is None and read.window.inicio < until
    ]
