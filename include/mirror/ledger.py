"""The ledger, the table `cargas`: what each read moved, and which transactions were open when it was read.

A window is done when its row is here, and not before; so is a scan, and a copy. Rows are only ever added, several reads
of one snapshot in a single INSERT, so a crash leaves either all of them or none. A row of kind `forget` makes the
earlier rows of its table void: the table is read again from the start. One of kind `refused` says why a run has set a
table aside.

Each row says which of the tables that had the name its rows went into: `built` is the version of the snapshot that this
one was built anew from, 0 for one that was never built anew. It counts while that is the table that has the name now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from include.mirror import migrations, names
from include.mirror.declaration import WAYS
from include.mirror.plan import (
    EPOCH,
    REREAD,
    WINDOW,
    LedgerState,
    Logged,
    NotedPrepared,
    Notes,
    Pending,
    Prepared,
    Read,
    Rebuild,
    Scan,
    Scanned,
    Session,
    Sweep,
    Swept,
    Work,
    instant,
)
from include.mirror.source.position import Position
from include.mirror.source.transactions import Identity
from include.mirror.templates import render
from include.mirror.warehouse.client import Warehouse, utc
from include.mirror.warehouse.parts import Part
from include.mirror.window import Window

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from include.mirror.contract import Stored

TABLE = "cargas"
FORGET, EXCHANGED, REFUSED, BEGIN = "forget", "exchanged", "refused", "begin"
REBUILD = Rebuild.kind
ALWAYS = datetime(2299, 1, 1, tzinfo=UTC)
"""After every scan that there can be."""

WorkKey = tuple[str, str] | tuple[str, Window]
"""What tells one read of a planning from the others."""


def identity(work: Work) -> WorkKey:
    """Return what tells this read from the others of its planning: its kind and table, and of a window also which."""
    return (work.kind, work.window) if isinstance(work, Read) else (work.kind, work.tabela)


@dataclass(frozen=True)
class Attempt:
    """Who moved a window: one planning, in one run, on one try."""

    plan: UUID
    run_id: str
    try_number: int

    @property
    def label(self) -> str:
        """A short name for what this attempt leaves in the warehouse."""
        return f"{self.run_id}_{self.try_number}"


@dataclass(frozen=True)
class Entry:
    """One ledger row. `money` holds the exact sum of each decimal column of the rows moved; `reason` is why the table
    is read in this way. `seen` are the transactions from `snapshot_xmin` on that a scan had read rows of, `parts` those
    of the warehouse's table once rows were published; `behind` is when the oldest transaction that a sweep did not see had
    begun. `source` is what was read, with how far it had come when the snapshot was taken. `built` is the snapshot that the
    table was built anew from, 0 for none. `log` is the identity of a log that was read, empty where the next run has to
    compare all keys."""

    id: UUID
    work: Work
    attempt: Attempt
    version: int
    snapshot_xmin: int
    source: Identity
    notes: Notes
    rows: int
    money: dict[str, Decimal]
    noted_at: datetime
    started_at: datetime
    finished_at: datetime
    reason: str = ""
    seen: tuple[int, ...] = ()
    behind: datetime = EPOCH
    parts: tuple[Part, ...] = ()
    built: int = 0
    log: str = ""


@dataclass(frozen=True)
class Ledger:
    """The ledger's table, through one client.

    Transaction ids of another timeline than `timeline` of the source are read as those of an unknown cluster, which
    nothing is compared with. `built` are the snapshots that tables were built anew from, by name: rows of other tables
    that had those names do not count.
    """

    warehouse: Warehouse
    client: Client
    timeline: int = 0
    built: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its quoted name."""
        return names.ch(self.warehouse.storage, TABLE)

    def prepare(self, storage: Mapping[str, Stored]) -> None:
        """Create the ledger and its neighbours, or bring them to this version, with the view that people query.

        `storage` are the tables that there are, by name.
        """
        noted = storage.get(migrations.TABLE)
        applied = (noted.rows if noted else 0) if TABLE in storage else None
        if migrations.apply(self.warehouse, self.client, applied):
            self.create_view()
            self._begin()

    def _begin(self) -> None:
        """Add a first row: a ledger without any has been emptied by somebody."""
        now = datetime.now(UTC)
        self._insert(
            [
                {
                    "id": uuid4(),
                    "kind": BEGIN,
                    "inicio": EPOCH,
                    "fim": EPOCH,
                    "started_at": now,
                    "finished_at": now,
                }
            ]
        )

    def create_view(self) -> None:
        """Create the view that people query, or make it anew."""
        view = names.ch(self.warehouse.views, TABLE)
        self.warehouse.create(self.client, render("create_ledger_view", ledger=self.name, view=view))

    def source(self) -> Identity | None:
        """Return the source that was read or accepted last, None where none was; what was not noted then is empty or 0."""
        for system, database, oid, *position in self._query("read_source"):
            return Identity(system, database, oid, Position(*position))
        return None

    def noted_parts(self) -> dict[str, list[Part]]:
        """Return the parts that each table had when rows of it were published last."""
        return {
            tabela: [Part(p["partition"], p["low"], p["high"], p["mutation"]) for p in parts]
            for tabela, parts in self._query("read_noted_parts")
        }

    def newest_version(self) -> int:
        """Return the highest version that anything was read with, 0 for none."""
        return int(self._query("read_newest_version")[0][0])

    def coverage(self) -> list[Window]:
        """Return what is covered by windows."""
        return [
            Window(tabela, utc(inicio), utc(fim), key_from, key_to)
            for tabela, inicio, fim, key_from, key_to in self._query("read_coverage")
        ]

    def scans(self, before: datetime = ALWAYS) -> list[Scanned]:
        """Return the newest scan of each table that was taken before a moment."""
        return [
            Scanned(tabela, utc(taken_at), xmin, system, tuple(seen))
            for tabela, taken_at, xmin, system, seen in self._query(
                "read_scans", {"before": before, "timeline": self.timeline}
            )
        ]

    def logs(self, before: datetime = ALWAYS) -> list[Logged]:
        """Return the newest reading of each table's log of deleted keys that was taken before a moment."""
        return [
            Logged(tabela, instant(version), xmin, system, log)
            for tabela, version, xmin, system, log in self._query(
                "read_logs", {"before": before, "timeline": self.timeline}
            )
        ]

    def sweeps(self) -> list[Swept]:
        """Return the newest sweep of each table."""
        return [
            Swept(tabela, utc(taken_at), utc(behind), xmin, system)
            for tabela, taken_at, behind, xmin, system in self._query(
                "read_sweeps", {"timeline": self.timeline}
            )
        ]

    def newest_reads(self) -> dict[tuple[str, str], int]:
        """Return the newest versions with which tables were copied and had their keys compared, by table and kind."""
        return {(tabela, kind): int(version) for tabela, kind, version in self._query("read_newest_reads")}

    def state(self, before: datetime = ALWAYS, ways: Collection[str] = WAYS) -> LedgerState:
        """Return what is covered, what is owed, and the scans to go on from, as far as tables of these ways need it."""
        scans = self.scans(before) if "scan" in ways else ()
        if "window" not in ways:
            return LedgerState(scans=scans)
        coverage = self.coverage()
        pending = [
            Pending(
                entry_id,
                Window(tabela, utc(inicio), utc(fim), key_from, key_to),
                snapshot_xmin,
                system,
                _notes(sessions, prepared),
            )
            for (
                entry_id,
                tabela,
                inicio,
                fim,
                key_from,
                key_to,
                snapshot_xmin,
                system,
                sessions,
                prepared,
            ) in self._query("read_pending", {"timeline": self.timeline})
        ]
        return LedgerState(coverage, pending, scans, self.sweeps())

    def done(self, plan: UUID) -> set[WorkKey]:
        """Return what one planning has seen through."""
        return {
            (kind, Window(tabela, utc(inicio), utc(fim), key_from, key_to))
            if kind in (WINDOW, REREAD)
            else (kind, tabela)
            for kind, tabela, inicio, fim, key_from, key_to, version in self._query(
                "read_done", {"plan": plan}
            )
            # Its row is written before the exchange. A later one has brought all that an earlier one was to bring.
            if kind != REBUILD or version <= self.built.get(tabela, 0)
        }

    def refuse(self, attempt: Attempt, reasons: Mapping[str, str]) -> None:
        """Note why one planning has set tables aside."""
        now = datetime.now(UTC)
        self._insert(
            [
                {
                    "id": uuid4(),
                    "plan": attempt.plan,
                    "tabela": tabela,
                    "kind": REFUSED,
                    "inicio": EPOCH,
                    "fim": EPOCH,
                    "version": 0,
                    "run_id": attempt.run_id,
                    "try_number": attempt.try_number,
                    "started_at": now,
                    "finished_at": now,
                    "reason": reason,
                }
                for tabela, reason in reasons.items()
            ]
        )

    def refused(self, plan: UUID) -> dict[str, str]:
        """Return why one planning has set tables aside, by name."""
        return {tabela: reason for tabela, reason in self._query("read_refused", {"plan": plan})}

    def forgotten(self) -> dict[str, datetime]:
        """Return until when what was read of tables is void, by name."""
        return {tabela: utc(until) for tabela, until in self._query("read_forgotten")}

    def set_aside(self) -> dict[str, str]:
        """Return which tables were set aside when they were to be read last, with the reason."""
        return {tabela: reason for tabela, reason in self._query("read_set_aside")}

    def write(self, entries: Sequence[Entry]) -> None:
        """Add rows, all or none of them."""
        self._insert([_row(entry) for entry in entries])

    def forget(
        self,
        reasons: Mapping[str, str],
        now: datetime,
        exchanged: Collection[str] = (),
        accepted: Identity | None = None,
    ) -> None:
        """Make void what was read of tables, by name with the reason, in snapshots taken before `now`.

        Of those that were `exchanged`, the warehouse may hold rows that the source has not got any more: until a copy
        has compared both. A source that was `accepted` in the place of another is the one that later runs go on with.
        """
        rows = [(tabela, FORGET, reason) for tabela, reason in reasons.items()]
        rows += [(tabela, EXCHANGED, reasons[tabela]) for tabela in exchanged]
        self._insert(
            [
                {
                    "id": uuid4(),
                    "tabela": tabela,
                    "kind": kind,
                    "inicio": EPOCH,
                    "fim": now,
                    "version": int(now.timestamp()) * 1_000_000 + now.microsecond,
                    "reason": reason,
                    "started_at": now,
                    "finished_at": now,
                    **(_source(accepted) if accepted else {}),
                }
                for tabela, kind, reason in rows
            ]
        )

    def exchanged(self) -> list[str]:
        """Return the tables that were exchanged since they were copied last."""
        return [tabela for (tabela,) in self._query("read_exchanged")]

    def _insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.warehouse.insert(self.client, TABLE, rows)

    def _query(self, name: str, parameters: dict[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        if self.warehouse.cluster is not None:
            # Rows that were written on another replica before this moment are read as well.
            self.client.command(f"SYSTEM SYNC REPLICA {self.name} LIGHTWEIGHT")
        # As two arrays: a parameter can't be a Map.
        built = {"rebuilt": list(self.built), "built": list(self.built.values())}
        result: Sequence[Sequence[Any]] = self.client.query(
            render(name, ledger=self.name), parameters={**built, **(parameters or {})}
        ).result_rows
        return result


def _row(entry: Entry) -> dict[str, Any]:
    work, taken_at = entry.work, instant(entry.version)
    settles: Iterable[UUID] = ()
    window = Window(work.tabela, EPOCH, taken_at)
    if isinstance(work, Read):
        window = work.window
        settles = work.reread.settles if work.reread else ()
    elif isinstance(work, Scan):
        window = Window(work.tabela, work.inicio, taken_at)
    elif isinstance(work, Sweep):
        window = Window(work.tabela, entry.behind, taken_at)
    return {
        "id": entry.id,
        "plan": entry.attempt.plan,
        "tabela": work.tabela,
        "kind": work.kind,
        "inicio": window.inicio,
        "fim": window.fim,
        "key_from": window.key_from,
        "key_to": window.key_to,
        "version": entry.version,
        "snapshot_xmin": entry.snapshot_xmin,
        **_source(entry.source),
        "noted_at": entry.noted_at,
        "open_sessions": [tuple(session) for session in sorted(entry.notes.sessions)],
        "prepared": [(*noted.transaction, noted.since) for noted in sorted(entry.notes.prepared)]
        + [(*found, None) for found in sorted(entry.notes.prepared_elsewhere)],
        "settles": list(settles),
        "rows": entry.rows,
        "money": entry.money,
        "run_id": entry.attempt.run_id,
        "try_number": entry.attempt.try_number,
        "started_at": entry.started_at,
        "finished_at": entry.finished_at,
        "reason": entry.reason,
        "seen": list(entry.seen),
        "parts": [tuple(part) for part in entry.parts],
        "built": entry.built,
        "log": entry.log,
    }


def _source(source: Identity) -> dict[str, Any]:
    position = source.position
    return {
        "source_system": source.system,
        "source_database": source.database,
        "source_oid": source.oid,
        "source_timeline": position.timeline,
        "source_flushed": position.flushed,
        "source_next_xid": position.next_xid,
        "source_recovered": position.recovered,
    }


def _notes(sessions: Sequence[Any], prepared: Sequence[Any]) -> Notes:
    return Notes(
        frozenset(Session(s["pid"], utc(s["connected_at"]), utc(s["start"])) for s in sessions),
        frozenset(
            NotedPrepared(Prepared(p["xid"], p["gid"]), utc(p["since"])) for p in prepared if p["since"]
        ),
        frozenset(Prepared(p["xid"], p["gid"]) for p in prepared if not p["since"]),
    )
