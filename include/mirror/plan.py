"""What a run has to read: a pure function of the ledger, the open transactions and the request.

A table is read in one of three ways. Of one with windows, two things are owed at any time:

* every stretch of time before the request's end that no ledger row covers (a first run, an outage, a run
  that failed for good, a table added today), and
* a re-read for every transaction that was open when a window was read and is gone now: what it committed
  carries its *start* as `updated_at` and so lies behind the window.

A re-read writes its own ledger row, with its own notes, and names the rows that it settles. So the debt is
always the rows with notes that no row settles, whatever died in between and in whatever order runs finish.

Of a table that is scanned, what was written since the snapshot of its last scan is owed; of one that is copied, all
of it. Neither needs notes: a transaction that a snapshot did not see holds back that snapshot's lowest id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal, NamedTuple
from uuid import UUID

from include.mirror.window import MICROSECOND, Request, Window, ceil_time

WINDOW, REREAD = "window", "reread"

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Where what is read whole begins, in the ledger."""


def instant(version: int) -> datetime:
    """Return when the snapshot with this version was taken."""
    return EPOCH + timedelta(microseconds=version)


class Session(NamedTuple):
    """A session inside a transaction: its start is the `updated_at` of everything it will commit.

    `start` is `coalesce(xact_start, query_start)`: the second transaction of one multi-statement message
    carries the message's start, and between the two there is no `xact_start`.
    """

    pid: int
    connected_at: datetime
    start: datetime


class Prepared(NamedTuple):
    """A transaction prepared for two-phase commit. When it started is not known to anyone any more."""

    xid: int
    gid: str


class NotedPrepared(NamedTuple):
    """A prepared transaction that may hold rows of a window: none of them older than `since`."""

    transaction: Prepared
    since: datetime


@dataclass(frozen=True)
class OpenTransactions:
    """Every transaction that may still commit rows, read before a snapshot was opened."""

    sessions: frozenset[Session] = frozenset()
    prepared: frozenset[Prepared] = frozenset()


@dataclass(frozen=True)
class Notes:
    """What a window's read noted: transactions whose rows in that window it may not have seen.

    `sessions` began before the window's end. `prepared` may have; `prepared_elsewhere` can't, but were
    prepared at that moment, which is how a later read tells the newly prepared from them.
    """

    sessions: frozenset[Session] = frozenset()
    prepared: frozenset[NotedPrepared] = frozenset()
    prepared_elsewhere: frozenset[Prepared] = frozenset()

    @property
    def owed(self) -> bool:
        """Whether the window has to be read again once one of these is gone."""
        return bool(self.sessions or self.prepared)

    @property
    def prepared_transactions(self) -> frozenset[Prepared]:
        """The prepared transactions that may hold rows of the window."""
        return frozenset(noted.transaction for noted in self.prepared)

    def gone(self, now: OpenTransactions) -> bool:
        """Whether one of these has ended, or is at least no longer what it was."""
        return not (self.sessions <= now.sessions and self.prepared_transactions <= now.prepared)

    def first_touched(self, window: Window) -> datetime:
        """Return the earliest `updated_at` inside `window` that one of these can have written."""
        starts = [session.start for session in self.sessions] + [noted.since for noted in self.prepared]
        return max(window.inicio, min(starts))


@dataclass(frozen=True)
class Reread:
    """Why and how a window is read again.

    `settles` are the ledger rows whose notes this read answers. A row that became visible since they were
    read was written by a transaction id of at least `xmin_from`, in the cluster `system` (0: in several). Of
    the prepared transactions found when it runs, those in `carried` matter; and, where sessions were noted,
    those that were not prepared at each of these reads (not in `known`): a noted session that is gone may be
    one of them, with rows from `sessions_since` on. What is both has rows from the earlier of the two on.
    """

    settles: tuple[UUID, ...]
    xmin_from: int
    system: int
    carried: tuple[NotedPrepared, ...] = ()
    known: frozenset[Prepared] = frozenset()
    sessions_since: datetime | None = None


@dataclass(frozen=True)
class Read:
    """One window to read, the first time or again."""

    window: Window
    reread: Reread | None = None

    @property
    def tabela(self) -> str:
        """The table's name in the warehouse."""
        return self.window.tabela

    @property
    def kind(self) -> str:
        """What the ledger calls it."""
        return WINDOW if self.reread is None else REREAD

    def __str__(self) -> str:
        return str(self.window)

    def notes(self, now: OpenTransactions, precision: timedelta = MICROSECOND) -> Notes:
        """Return which of the transactions open `now` this read must note.

        `precision` is what the change column keeps of a time: one that began after the window's end may have a value
        within it, once that is rounded.
        """
        inicio, fim = self.window.inicio, ceil_time(self.window.fim, precision)
        sessions = frozenset(session for session in now.sessions if session.start < fim)
        if self.reread is None:
            # Rows before the window are the business of the reads that covered them.
            return Notes(sessions, frozenset(NotedPrepared(found, inicio) for found in now.prepared))
        carried = {noted.transaction: noted.since for noted in self.reread.carried}
        prepared = set()
        for found in now.prepared:
            since = [carried[found]] if found in carried else []
            # One that a later window noted as prepared may be what a session of an earlier window became.
            if self.reread.sessions_since is not None and found not in self.reread.known:
                since.append(self.reread.sessions_since)
            if since:
                prepared.add(NotedPrepared(found, min(since)))
        noted = frozenset(note.transaction for note in prepared)
        return Notes(sessions, frozenset(prepared), now.prepared - noted)


@dataclass(frozen=True)
class Scan:
    """One table to read by the transaction ids of its rows: those from `xmin` on, or all of them where it is None.

    `xmin` is the lowest transaction id that was running in an earlier snapshot, of cluster `system`; what that one saw
    was committed before `inicio`. `seen` are ids from `xmin` on whose rows it had read already: a transaction that stays
    open holds `xmin` back, and the rows that others wrote since then would be read again and again.
    """

    tabela: str
    inicio: datetime = EPOCH
    xmin: int | None = None
    system: int = 0
    seen: tuple[int, ...] = ()
    kind: Literal["scan"] = "scan"

    def __str__(self) -> str:
        return f"{self.tabela} {'whole' if self.xmin is None else f'since {self.inicio.isoformat()}'}"


@dataclass(frozen=True)
class Copy:
    """One table to read whole, and to compare with what the warehouse has."""

    tabela: str
    kind: Literal["copy"] = "copy"

    def __str__(self) -> str:
        return f"{self.tabela} whole, by comparison"


@dataclass(frozen=True)
class Sweep:
    """One table with windows in which to look for rows that no window finds: their change column is ahead, or behind.

    Ahead is what is not before the snapshot. Behind is what was written since an earlier sweep, by transactions from
    `xmin` on of cluster `system`, and has a time before `behind`, when the oldest of them can have begun. `xmin` is None
    at the first.
    """

    tabela: str
    behind: datetime = EPOCH
    xmin: int | None = None
    system: int = 0
    kind: Literal["sweep"] = "sweep"

    def __str__(self) -> str:
        return f"{self.tabela} for times that no window covers"


@dataclass(frozen=True)
class Rebuild:
    """One table to read whole, into a table of the warehouse that takes the old one's place."""

    tabela: str
    kind: Literal["rebuild"] = "rebuild"

    def __str__(self) -> str:
        return f"{self.tabela} whole, into a new table"


@dataclass(frozen=True)
class Keys:
    """One table whose keys are compared with those of the warehouse: what the source has no more was deleted there."""

    tabela: str
    kind: Literal["keys"] = "keys"

    def __str__(self) -> str:
        return f"{self.tabela} for deleted keys"


@dataclass(frozen=True)
class Log:
    """One table whose log of deleted keys is read: what transactions from `xmin` on of cluster `system` have written.

    `xmin` is None where the log can't tell everything that was deleted, and all keys are compared. `log` is the identity
    that it had when it was read last.
    """

    tabela: str
    xmin: int | None = None
    system: int = 0
    log: str = ""
    kind: Literal["log"] = "log"

    def __str__(self) -> str:
        return f"{self.tabela} for deleted keys{'' if self.xmin is None else ' in its log'}"


@dataclass(frozen=True)
class Repair:
    """Rows of one table to read by their keys, and to delete in the warehouse where the source has none with that key.

    A key is the texts of its columns, as both servers print them to be compared.
    """

    tabela: str
    keys: tuple[tuple[str, ...], ...]
    kind: Literal["repair"] = "repair"

    def __str__(self) -> str:
        return f"{len(self.keys)} keys of {self.tabela}"


Work = Read | Scan | Copy | Sweep | Rebuild | Keys | Log | Repair
"""Something that a run has to read."""


@dataclass(frozen=True)
class Scanned:
    """A ledger row of a scan: what its snapshot saw, and of whom it had read rows from `xmin` on."""

    tabela: str
    taken_at: datetime
    xmin: int
    system: int
    seen: tuple[int, ...] = ()


@dataclass(frozen=True)
class Swept:
    """A ledger row of a sweep: what its snapshot saw, and when the oldest transaction that it did not see had begun."""

    tabela: str
    taken_at: datetime
    behind: datetime
    xmin: int
    system: int


@dataclass(frozen=True)
class Logged:
    """A ledger row of a log of deleted keys: what its snapshot saw, and what the log was then."""

    tabela: str
    taken_at: datetime
    xmin: int
    system: int
    log: str


@dataclass(frozen=True)
class Pending:
    """A ledger row whose notes no other row settles."""

    id: UUID
    window: Window
    snapshot_xmin: int
    system: int
    notes: Notes


@dataclass(frozen=True)
class LedgerState:
    """What planning needs of the ledger: what is covered, what is owed, and of each table the scan and the sweep to go on
    from."""

    coverage: Sequence[Window] = ()
    pending: Sequence[Pending] = ()
    scans: Sequence[Scanned] = ()
    sweeps: Sequence[Swept] = ()


@dataclass
class _Slab:
    inicio: datetime
    fim: datetime
    keys: list[tuple[int | None, int | None]] = field(default_factory=list)


def plan(
    ledger: LedgerState,
    now: OpenTransactions,
    request: Request,
    oldest: Mapping[str, datetime],
    tables: Sequence[str],
) -> list[Read]:
    """Return every read that is owed.

    `oldest` holds, per table that has rows, the instant of its oldest row; `tables` are all mirrored tables,
    because re-reads are owed for them whatever the request names. Windows of one table do not overlap;
    re-reads may overlap them, which costs a little and harms nothing: reads commute.
    """
    reads = [
        Read(window)
        for tabela in request.tabelas
        for window in missing(ledger.coverage, request, tabela, oldest)
    ]
    return reads + [read for tabela in tables for read in rereads(ledger.pending, now, tabela)]


def scan(ledger: LedgerState, tabela: str) -> Scan:
    """Return what a scan of one table has to read: what was written since its last scan; all of it at the first.

    Which scan is its last is the ledger's business: for a range that was asked for, the newest one before it begins.
    """
    for last in ledger.scans:
        if last.tabela == tabela:
            return Scan(tabela, last.taken_at, last.xmin, last.system, last.seen)
    return Scan(tabela)


def sweep(ledger: LedgerState, tabela: str, now: datetime, interval: timedelta) -> Sweep | None:
    """Return the sweep of one table that is due: `interval` after its last; None where none is."""
    for last in ledger.sweeps:
        if last.tabela == tabela:
            return (
                Sweep(tabela, last.behind, last.xmin, last.system)
                if now - last.taken_at >= interval
                else None
            )
    return Sweep(tabela)


def log(logs: Iterable[Logged], tabela: str, identity: str, now: datetime, trusted: timedelta) -> Log:
    """Return what has to be read of one table's log: what was written since its last reading.

    All keys are compared where there is none, where it is older than `trusted`, or the log is not what it was then.
    """
    for last in logs:
        if last.tabela == tabela and last.log == identity and now - last.taken_at <= trusted:
            return Log(tabela, last.xmin, last.system, identity)
    return Log(tabela, log=identity)


def missing(
    coverage: Iterable[Window], request: Request, tabela: str, oldest: Mapping[str, datetime]
) -> list[Window]:
    """Return what of one table has to be read: the requested interval, and with `fill_gaps` what is missing.

    The requested interval is read whether it is covered or not: who runs one again wants it read again.
    """
    interval = request.interval
    if not request.fill_gaps:
        return [Window(tabela, interval.inicio, interval.fim)]
    first = min(interval.inicio, oldest.get(tabela, interval.inicio))
    covered = [
        piece
        for window in coverage
        if window.tabela == tabela
        for piece in _without(window, interval.inicio, interval.fim)
    ]
    return gaps(covered, tabela, first, interval.fim)


def covered_until(
    coverage: Iterable[Window], tabela: str, oldest: datetime | None, now: datetime
) -> datetime | None:
    """Return the instant up to which one table is in the warehouse without a hole, at most `now`.

    `oldest` is the instant of the table's oldest row, None for a table without rows; for one that no window
    covers either, return None.
    """
    windows = [window for window in coverage if window.tabela == tabela]
    starts = [window.inicio for window in windows] if oldest is None else [oldest]
    if not starts:
        return None
    missing = gaps(windows, tabela, min(starts), now)
    return missing[0].inicio if missing else now


def _without(window: Window, inicio: datetime, fim: datetime) -> list[Window]:
    """Return what is left of `window` outside of `[inicio, fim)`."""
    pieces = []
    if window.inicio < inicio:
        pieces.append(
            Window(window.tabela, window.inicio, min(window.fim, inicio), window.key_from, window.key_to)
        )
    if window.fim > fim:
        pieces.append(
            Window(window.tabela, max(window.inicio, fim), window.fim, window.key_from, window.key_to)
        )
    return pieces


def gaps(coverage: Iterable[Window], tabela: str, inicio: datetime, fim: datetime) -> list[Window]:
    """Return what of `[inicio, fim)`, for all keys, no window of `coverage` holds, in order, neighbours joined."""
    inside = [w for w in coverage if w.inicio < fim and w.fim > inicio]
    bounds = sorted({inicio, fim} | {b for w in inside for b in (w.inicio, w.fim) if inicio < b < fim})
    slabs: list[_Slab] = []
    starts = sorted(inside, key=lambda w: w.inicio)
    active: list[Window] = []
    for start, end in pairwise(bounds):
        while starts and starts[0].inicio <= start:
            active.append(starts.pop(0))
        active = [w for w in active if w.fim > start]
        free = _key_gaps([(w.key_from, w.key_to) for w in active])
        if not free:
            continue
        if slabs and slabs[-1].fim == start and slabs[-1].keys == free:
            slabs[-1].fim = end
        else:
            slabs.append(_Slab(start, end, free))
    return [
        Window(tabela, slab.inicio, slab.fim, key_from, key_to)
        for slab in slabs
        for key_from, key_to in slab.keys
    ]


def _key_gaps(ranges: list[tuple[int | None, int | None]]) -> list[tuple[int | None, int | None]]:
    """Return the key ranges that `ranges` leave open; None is an open end."""
    free: list[tuple[int | None, int | None]] = []
    reached: int | None = None  # every key below it is covered; None before the first key
    ordered = sorted(ranges, key=lambda r: (r[0] is not None, r[0] or 0))
    for low, high in ordered:
        if low is not None and (reached is None or low > reached):
            free.append((reached, low))
        if high is None:
            return free
        reached = high if reached is None else max(reached, high)
    return [*free, (reached, None)]


def rereads(pending: Iterable[Pending], now: OpenTransactions, tabela: str) -> list[Read]:
    """Return one read per stretch of time that transactions, gone by now, may have written into."""
    due = [row for row in pending if row.window.tabela == tabela and row.notes.gone(now)]
    stretches: list[tuple[datetime, datetime, list[Pending]]] = []
    for low, row in sorted(
        ((row.notes.first_touched(row.window), row) for row in due), key=lambda item: item[0]
    ):
        if stretches and low <= stretches[-1][1]:
            start, end, rows = stretches[-1]
            stretches[-1] = (start, max(end, row.window.fim), [*rows, row])
        else:
            stretches.append((low, row.window.fim, [row]))
    return [Read(Window(tabela, start, end), _reread(rows)) for start, end, rows in stretches]


def _reread(rows: Sequence[Pending]) -> Reread:
    carried: dict[Prepared, datetime] = {}
    for row in rows:
        for noted in row.notes.prepared:
            carried[noted.transaction] = min(noted.since, carried.get(noted.transaction, noted.since))
    with_sessions = [row for row in rows if row.notes.sessions]
    prepared_then = [row.notes.prepared_transactions | row.notes.prepared_elsewhere for row in with_sessions]
    return Reread(
        settles=tuple(sorted(row.id for row in rows)),
        xmin_from=min(row.snapshot_xmin for row in rows),
        system=rows[0].system if len({row.system for row in rows}) == 1 else 0,
        carried=tuple(NotedPrepared(transaction, since) for transaction, since in sorted(carried.items())),
        known=frozenset.intersection(*prepared_then) if prepared_then else frozenset(),
        sessions_since=min(
            (
                max(row.window.inicio, session.start)
                for row in with_sessions
                for session in row.notes.sessions
            ),
            default=None,
        ),
    )
