"""Plans what a run has to read: a pure function of the ledger, the open transactions and the request.

A table is read in one of three ways. For a table with windows, a run owes:

* every interval before the request's end that no ledger row covers (a first run, an outage, a run that failed for good, a
  table added today), and
* a re-read for every transaction that was open when a window was read and is gone now. Its rows have its *start* as
  `updated_at`, so they may belong to a window that was read before the commit.

A re-read writes its own ledger row, with its own notes, and names the ledger rows that it settles. So owed are always the
ledger rows with notes that no other row settles, whichever process crashed and in whatever order runs end.

For a table that is scanned, a run owes the rows that were written since the snapshot of its last scan. For a table that is
copied, it owes all rows. Neither needs notes: a transaction that a snapshot did not see holds back that snapshot's lowest
id, from which the next scan reads.
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
"""The ledger's `inicio` of a read of a whole table."""


def instant(version: int) -> datetime:
    """Return when the snapshot with this version was taken."""
    return EPOCH + timedelta(microseconds=version)


class Session(NamedTuple):
    """A session inside a transaction. Its `start` is the `updated_at` of every row that it will commit.

    `start` is `coalesce(xact_start, query_start)`: the second transaction of a multi-statement message has the message's
    start, and between the two transactions `xact_start` is NULL.
    """

    pid: int
    connected_at: datetime
    start: datetime


class Prepared(NamedTuple):
    """A transaction prepared for two-phase commit. PostgreSQL does not show when it started."""

    xid: int
    gid: str


class NotedPrepared(NamedTuple):
    """A prepared transaction that may hold rows of a window. None of its rows is older than `since`."""

    transaction: Prepared
    since: datetime


@dataclass(frozen=True)
class OpenTransactions:
    """All transactions that may still commit rows, listed before a snapshot is opened."""

    sessions: frozenset[Session] = frozenset()
    prepared: frozenset[Prepared] = frozenset()


@dataclass(frozen=True)
class Notes:
    """The notes of a window's read: transactions whose rows in the window it may have missed.

    `sessions` began before the window's end. `prepared` may have begun before it. `prepared_elsewhere` can't have, but were
    prepared at that moment: a later read needs them to recognize the newly prepared ones.
    """

    sessions: frozenset[Session] = frozenset()
    prepared: frozenset[NotedPrepared] = frozenset()
    prepared_elsewhere: frozenset[Prepared] = frozenset()

    @property
    def owed(self) -> bool:
        """Whether the window has to be read again once one of these transactions is gone."""
        return bool(self.sessions or self.prepared)

    @property
    def prepared_transactions(self) -> frozenset[Prepared]:
        """The prepared transactions that may hold rows of the window."""
        return frozenset(noted.transaction for noted in self.prepared)

    def gone(self, now: OpenTransactions) -> bool:
        """Return whether one of these transactions has ended, or has changed from open to prepared."""
        return not (self.sessions <= now.sessions and self.prepared_transactions <= now.prepared)

    def first_touched(self, window: Window) -> datetime:
        """Return the earliest `updated_at` in `window` that one of these transactions can have written."""
        starts = [session.start for session in self.sessions] + [noted.since for noted in self.prepared]
        return max(window.inicio, min(starts))


@dataclass(frozen=True)
class Reread:
    """Why and how a window is read again.

    `settles` are the ledger rows whose notes this read settles. A row that has become visible since those reads was written
    by a transaction id of at least `xmin_from`, in the cluster `system` (0 if the reads were in several).

    The re-read itself has to note some of the prepared transactions that it finds:

    - Those in `carried`, which the earlier reads noted, each with its `since`.
    - If sessions were noted, those that were not prepared at each of the earlier reads (not in `known`): a noted session
      that is gone may have become one of them, with rows from `sessions_since` on.

    If a transaction is in both sets, it may have rows from the earlier of both times on.
    """

    settles: tuple[UUID, ...]
    xmin_from: int
    system: int
    carried: tuple[NotedPrepared, ...] = ()
    known: frozenset[Prepared] = frozenset()
    sessions_since: datetime | None = None


@dataclass(frozen=True)
class Read:
    """One window to read, for the first time or again."""

    window: Window
    reread: Reread | None = None

    @property
    def tabela(self) -> str:
        """The table's name in the warehouse."""
        return self.window.tabela

    @property
    def kind(self) -> str:
        """The read's kind in the ledger."""
        return WINDOW if self.reread is None else REREAD

    def __str__(self) -> str:
        return str(self.window)

    def notes(self, now: OpenTransactions, precision: timedelta = MICROSECOND) -> Notes:
        """Return which of the transactions that are open `now` this read must note.

        `precision` is the step to which the change column rounds. A transaction that began after the window's end may have
        a value inside the window once it is rounded.
        """
        inicio, fim = self.window.inicio, ceil_time(self.window.fim, precision)
        sessions = frozenset(session for session in now.sessions if session.start < fim)
        if self.reread is None:
            # A prepared transaction may also have rows before the window. The reads of those windows note it themselves.
            return Notes(sessions, frozenset(NotedPrepared(found, inicio) for found in now.prepared))
        carried = {noted.transaction: noted.since for noted in self.reread.carried}
        prepared = set()
        for found in now.prepared:
            since = [carried[found]] if found in carried else []
            # A transaction that a later window noted as prepared may have been a session that an earlier window noted.
            if self.reread.sessions_since is not None and found not in self.reread.known:
                since.append(self.reread.sessions_since)
            if since:
                prepared.add(NotedPrepared(found, min(since)))
        noted = frozenset(note.transaction for note in prepared)
        return Notes(sessions, frozenset(prepared), now.prepared - noted)


@dataclass(frozen=True)
class Scan:
    """One table to read by the transaction ids of its rows: the rows of ids from `xmin` on, or all rows if it is None.

    `xmin` is the lowest transaction id that was running in an earlier scan's snapshot, in the cluster `system`. `inicio` is
    when that snapshot was taken. `seen` are ids from `xmin` on whose rows that scan has read already. They are left out: a
    transaction that stays open holds `xmin` back, and other transactions' rows would be read again and again.
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
    """One table to read whole, and to compare with the warehouse's rows."""

    tabela: str
    kind: Literal["copy"] = "copy"

    def __str__(self) -> str:
        return f"{self.tabela} whole, by comparison"


@dataclass(frozen=True)
class Sweep:
    """One table with windows to search for rows that no window finds, because their change column is ahead or behind.

    A row is ahead if its time is not before the snapshot. A row is behind if a transaction from `xmin` on, in the cluster
    `system`, has written it since an earlier sweep with a time before `behind`, the earliest moment at which such a
    transaction can have begun. `xmin` is None for a table's first sweep.
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
    """One table to read whole, into a new table of the warehouse that replaces the old one."""

    tabela: str
    kind: Literal["rebuild"] = "rebuild"

    def __str__(self) -> str:
        return f"{self.tabela} whole, into a new table"


@dataclass(frozen=True)
class Keys:
    """One table whose keys are compared with the warehouse's: a key that only the warehouse has was deleted."""

    tabela: str
    kind: Literal["keys"] = "keys"

    def __str__(self) -> str:
        return f"{self.tabela} for deleted keys"


@dataclass(frozen=True)
class Log:
    """One table whose delete log is read: the rows that transactions from `xmin` on, in the cluster `system`, have written.

    `xmin` is None if the log may not have all deletions; then all keys are compared. `log` is the log's identity at its last
    reading.
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
    """Rows of one table to read by their keys. A key that is not in the source is deleted in the warehouse.

    A key is the texts of its columns, as both servers print them for comparison.
    """

    tabela: str
    keys: tuple[tuple[str, ...], ...]
    kind: Literal["repair"] = "repair"

    def __str__(self) -> str:
        return f"{len(self.keys)} keys of {self.tabela}"


Work = Read | Scan | Copy | Sweep | Rebuild | Keys | Log | Repair
"""A read that a run, or a reconciliation, has to do."""


@dataclass(frozen=True)
class Scanned:
    """The ledger row of a scan. `xmin` is its snapshot's lowest running id; `seen` are later ids whose rows it has read."""

    tabela: str
    taken_at: datetime
    xmin: int
    system: int
    seen: tuple[int, ...] = ()


@dataclass(frozen=True)
class Swept:
    """The ledger row of a sweep. `behind` is when the oldest transaction that its snapshot did not see had begun."""

    tabela: str
    taken_at: datetime
    behind: datetime
    xmin: int
    system: int


@dataclass(frozen=True)
class Logged:
    """The ledger row of a reading of a delete log. `log` is the log's identity at that time."""

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
    """What planning needs from the ledger: covered windows, owed ledger rows, and each table's last scan and sweep."""

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

    `oldest` holds the instant of the oldest row of each table that has rows. `tables` are all mirrored tables, because
    re-reads are owed for all of them, whatever the request names. Windows of one table do not overlap. Re-reads may overlap
    them; that costs a little and does no harm, because reads commute.
    """
    reads = [
        Read(window)
        for tabela in request.tabelas
        for window in missing(ledger.coverage, request, tabela, oldest)
    ]
    return reads + [read for tabela in tables for read in rereads(ledger.pending, now, tabela)]


def scan(ledger: LedgerState, tabela: str) -> Scan:
    """Return the scan of one table: of the rows written since its last scan, or of all rows for a first scan.

    `ledger` decides which scan is the last one. For a requested range, that is the newest scan before the range begins.
    """
    for last in ledger.scans:
        if last.tabela == tabela:
            return Scan(tabela, last.taken_at, last.xmin, last.system, last.seen)
    return Scan(tabela)


def sweep(ledger: LedgerState, tabela: str, now: datetime, interval: timedelta) -> Sweep | None:
    """Return the sweep of one table if its last one is at least `interval` ago, else None."""
    for last in ledger.sweeps:
        if last.tabela == tabela:
            return (
                Sweep(tabela, last.behind, last.xmin, last.system)
                if now - last.taken_at >= interval
                else None
            )
    return Sweep(tabela)


def log(logs: Iterable[Logged], tabela: str, identity: str, now: datetime, trusted: timedelta) -> Log:
    """Return the read of one table's delete log: of the rows written since its last reading.

    All keys are compared if there is no last reading, if it is older than `trusted`, or if the log's identity has changed.
    """
    for last in logs:
        if last.tabela == tabela and last.log == identity and now - last.taken_at <= trusted:
            return Log(tabela, last.xmin, last.system, identity)
    return Log(tabela, log=identity)


def missing(
    coverage: Iterable[Window], request: Request, tabela: str, oldest: Mapping[str, datetime]
) -> list[Window]:
    """Return the windows of one table to read: the requested interval and, with `fill_gaps`, all gaps before its end.

    The requested interval is read even if it is covered: whoever repeats a run wants it read again.
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
    """Return the instant up to which one table is covered without a gap, at most `now`.

    `oldest` is the instant of the table's oldest row, None for a table without rows. Returns None for a table that has
    neither rows nor windows.
    """
    windows = [window for window in coverage if window.tabela == tabela]
    starts = [window.inicio for window in windows] if oldest is None else [oldest]
    if not starts:
        return None
    missing = gaps(windows, tabela, min(starts), now)
    return missing[0].inicio if missing else now


def _without(window: Window, inicio: datetime, fim: datetime) -> list[Window]:
    """Return the parts of `window` outside of `[inicio, fim)`."""
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
    """Return the parts of `[inicio, fim)`, over all keys, that no window of `coverage` has; in order, neighbours joined."""
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
    """Return the key ranges that none of `ranges` has. None is an open end."""
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
    """Return one read for each interval into which transactions that are gone by now may have written."""
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
