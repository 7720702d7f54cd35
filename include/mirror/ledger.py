"""The ledger, the table `cargas`: what each read moved, and which transactions were open when it was read.

A window is done when its row is here, and not before. The same holds for a scan and a copy. Rows are only ever added. All
reads of one snapshot are written in a single INSERT, so a crash leaves all of their rows or none. A row of kind `forget`
makes the earlier rows of its table void: the table is read again from the start. A row of kind `refused` holds the reason
why a run has set a table aside.

A rebuild gives a new table the name of the old one. So each ledger row notes in `built` into which of them its rows went:
the version of the snapshot that the table was rebuilt from, 0 for a table that was never rebuilt. A ledger row counts only
while the table with that `built` has the name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
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
from include.mirror.warehouse.client import Warehouse, ask, utc
from include.mirror.warehouse.parts import Part
from include.mirror.window import Window

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from include.mirror.contract import Stored

TABLE, CLAIMS = "cargas", "cargas_planejadas"
FORGET, EXCHANGED, REFUSED, BEGIN = "forget", "exchanged", "refused", "begin"
REBUILD = Rebuild.kind
ALWAYS = datetime(2299, 1, 1, tzinfo=UTC)
"""A time after every possible scan."""

WorkKey = tuple[str, str] | tuple[str, Window]
"""Identifies a read among the reads of one plan."""


def identity(work: Work) -> WorkKey:
    """Return what identifies this read in its plan: its kind with its table, or with its window."""
    return (work.kind, work.window) if isinstance(work, Read) else (work.kind, work.tabela)


def _key(
    kind: str, tabela: str, inicio: datetime, fim: datetime, key_from: int | None, key_to: int | None
) -> WorkKey:
    """Return the identity of a read from the columns of its ledger row."""
    if kind in (WINDOW, REREAD):
        return kind, Window(tabela, utc(inicio), utc(fim), key_from, key_to)
    return kind, tabela


class Moved(NamedTuple):
    """What one table got: `rows`, deletions among them, of `[inicio, fim)`; from `EPOCH` if it was read from the start.

    `version` is that of the newest snapshot that was read.
    """

    tabela: str
    rows: int
    inicio: datetime
    fim: datetime
    version: int

    def joined(self, other: Moved) -> Moved:
        """Return what both moved together, of one table."""
        return Moved(
            self.tabela,
            self.rows + other.rows,
            min(self.inicio, other.inicio),
            max(self.fim, other.fim),
            max(self.version, other.version),
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, with a few words for people. The version is text: JSON readers round large numbers."""
        return {
            "resumo": f"{self.tabela} {self.rows:,}",
            "tabela": self.tabela,
            "rows": self.rows,
            "inicio": None if self.inicio == EPOCH else self.inicio.isoformat(),
            "fim": self.fim.isoformat(),
            "version": str(self.version),
        }


@dataclass(frozen=True)
class Attempt:
    """One try of a task: it moves reads of one plan, for one run."""

    plan: UUID
    run_id: str
    try_number: int

    @property
    def label(self) -> str:
        """A short name for the stages that this attempt creates in the warehouse."""
        return f"{self.run_id}_{self.try_number}"


@dataclass(frozen=True)
class Entry:
    """One ledger row.

    `source` is the source that was read, with its position when the snapshot was taken. `money` holds the exact sum of each
    decimal column over the rows moved. `reason` is why the table is read in its way. `seen` are the transactions from
    `snapshot_xmin` on whose rows a scan has read. `behind` is when the oldest transaction that a sweep did not see had
    begun. `parts` are the parts of the warehouse's table after publishing. `built` is the version of the snapshot that the
    table was rebuilt from, 0 for none. `log` is the identity of the delete log that was read; it is empty if the next run
    has to compare all keys.
    """

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

    Ledger rows with another timeline than `timeline` are returned with `system` 0, an unknown cluster: no transaction id is
    compared with theirs. `built` maps rebuilt tables to the version of their rebuild's snapshot: ledger rows of earlier
    tables with these names do not count.
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
        """Create the ledger, the mirror's other tables of its own, and the ledger's view, or migrate them to this version.

        `storage` are the existing tables, by name.
        """
        noted = storage.get(migrations.TABLE)
        applied = (noted.rows if noted else 0) if TABLE in storage else None
        if migrations.apply(self.warehouse, self.client, applied):
            self.create_view()
            self._begin()

    def _begin(self) -> None:
        """Add a first row, so that a ledger without rows is known to have been emptied by somebody."""
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
        """Create or replace the view that people query."""
        view = names.ch(self.warehouse.views, TABLE)
        self.warehouse.create(self.client, render("create_ledger_view", ledger=self.name, view=view))

    def ask(self, *questions: str, more: Mapping[str, str] | None = None, **parameters: Any) -> Answers:
        """Ask several questions, of the files `read_<question>.sql`, in one statement; `parameters` are those of all.

        `more` are other queries, by name.
        """
        claims = names.ch(self.warehouse.storage, CLAIMS)
        if self.warehouse.cluster is not None:
            # Rows that were written on another replica before this moment are read as well.
            for table in (self.name, claims) if "claims" in questions else (self.name,):
                self.client.command(f"SYSTEM SYNC REPLICA {table} LIGHTWEIGHT")
        given = {
            # As two arrays: a parameter can't be a Map.
            "rebuilt": list(self.built),
            "built": list(self.built.values()),
            "timeline": self.timeline,
            "before": ALWAYS,
            "kept": EPOCH,
            "storage": self.warehouse.storage,
            "views": self.warehouse.views,
            **parameters,
        }
        texts = {name: render(f"read_{name}", ledger=self.name, claims=claims) for name in questions}
        found = ask(self.client, texts | (dict(more) if more else {}), given)
        return Answers(found, self.built)

    def state(self, before: datetime = ALWAYS, ways: Collection[str] = WAYS) -> LedgerState:
        """Return what is covered, what is owed, and the scans to go on from, as far as tables of these ways need it."""
        return self.ask(*questions_of(ways), before=before).state

    def source(self) -> Identity | None:
        """Return the source that was read or accepted last."""
        return self.ask("source").source

    def noted_parts(self) -> dict[str, list[Part]]:
        """Return, by table, the parts that were noted when rows of it were last published."""
        return self.ask("noted_parts").noted_parts

    def newest_version(self) -> int:
        """Return the highest version of any read, 0 for none."""
        return self.ask("newest_version").newest_version

    def refused(self, plan: UUID) -> dict[str, str]:
        """Return why one planning has set tables aside, by name."""
        return self.ask("refused", plan=plan).refused

    def refuse(self, attempt: Attempt, reasons: Mapping[str, str]) -> None:
        """Write the reasons why tables of one plan are set aside."""
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

    def write(self, entries: Sequence[Entry]) -> None:
        """Add rows: all of them or none."""
        self._insert([_row(entry) for entry in entries])

    def forget(
        self,
        reasons: Mapping[str, str],
        now: datetime,
        exchanged: Collection[str] = (),
        accepted: Identity | None = None,
    ) -> None:
        """Make void what was read of tables in snapshots taken before `now`. `reasons` maps tables to the reason.

        `exchanged` are tables that may hold rows which are no longer in the source, until a copy has compared both sides.
        `accepted` is a source that was accepted in place of another: later runs go on with it.
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

    def _insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.warehouse.insert(self.client, TABLE, rows)


def questions_of(ways: Collection[str]) -> list[str]:
    """Return the questions for the state of tables of these ways."""
    asked = ["coverage", "pending", "sweeps"] if "window" in ways else []
    return [*asked, "scans"] if "scan" in ways else asked


@dataclass(frozen=True)
class Answers:
    """The ledger's answers, by question. A property works only if its question was asked. `built` is as in `Ledger`."""

    rows: Mapping[str, Sequence[Sequence[Any]]]
    built: Mapping[str, int] = field(default_factory=dict)

    @property
    def source(self) -> Identity | None:
        """The source that was read or accepted last, None if there is none. Fields that were not noted are empty or 0."""
        for system, database, oid, *position in self.rows["source"]:
            return Identity(system, database, oid, Position(*position))
        return None

    @property
    def noted_parts(self) -> dict[str, list[Part]]:
        """The parts that each table had after rows of it were last published."""
        return {
            tabela: [Part(p["partition"], p["low"], p["high"], p["mutation"]) for p in parts]
            for tabela, parts in self.rows["noted_parts"]
        }

    @property
    def newest_version(self) -> int:
        """The highest version of any read, 0 for none."""
        ((version,),) = self.rows["newest_version"]
        return int(version)

    @property
    def coverage(self) -> list[Window]:
        """What is covered by windows."""
        return [
            Window(tabela, utc(inicio), utc(fim), key_from, key_to)
            for tabela, inicio, fim, key_from, key_to in self.rows["coverage"]
        ]

    @property
    def scans(self) -> list[Scanned]:
        """The newest scan of each table before the time in the question."""
        return [
            Scanned(tabela, utc(taken_at), xmin, system, tuple(seen))
            for tabela, taken_at, xmin, system, seen in self.rows["scans"]
        ]

    @property
    def logs(self) -> list[Logged]:
        """The newest reading of each table's log of deleted keys."""
        return list({one.tabela: one for one in sorted(self._logs, key=lambda one: one.taken_at)}.values())

    @property
    def old_logs(self) -> list[Logged]:
        """The newest reading of each log before the time in the question."""
        return [one for one, (*_, is_old) in zip(self._logs, self.rows["logs"], strict=True) if is_old]

    @property
    def _logs(self) -> list[Logged]:
        return [
            Logged(tabela, instant(version), xmin, system, log)
            for tabela, version, xmin, system, log, _ in self.rows["logs"]
        ]

    @property
    def sweeps(self) -> list[Swept]:
        """The newest sweep of each table."""
        return [
            Swept(tabela, utc(taken_at), utc(behind), xmin, system)
            for tabela, taken_at, behind, xmin, system in self.rows["sweeps"]
        ]

    @property
    def newest_reads(self) -> dict[tuple[str, str], int]:
        """The versions of each table's newest copy and newest comparison of keys, by table and kind."""
        return {(tabela, kind): int(version) for tabela, kind, version in self.rows["newest_reads"]}

    @property
    def pending(self) -> list[Pending]:
        """The rows whose notes no other row settles."""
        return [
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
            ) in self.rows["pending"]
        ]

    @property
    def state(self) -> LedgerState:
        """What is covered, what is owed, and the scans to go on from. Questions that were not asked leave theirs empty."""
        return LedgerState(
            *(
                getattr(self, name) if name in self.rows else ()
                for name in ("coverage", "pending", "scans", "sweeps")
            )
        )

    @property
    def done(self) -> set[WorkKey]:
        """The reads of one plan that are done."""
        return {
            _key(kind, tabela, inicio, fim, key_from, key_to)
            for kind, tabela, inicio, fim, key_from, key_to, version in self.rows["done"]
            # A rebuild's row is written before the exchange. A later rebuild has read all that an earlier one would have.
            if kind != REBUILD or version <= self.built.get(tabela, 0)
        }

    @property
    def moved(self) -> dict[WorkKey, Moved]:
        """What each read of one plan has moved; for a read that was done twice, what it moved the second time."""
        return {
            _key(kind, tabela, inicio, fim, key_from, key_to): Moved(
                tabela, rows, utc(inicio), utc(fim), version
            )
            for kind, tabela, inicio, fim, key_from, key_to, version, rows in sorted(
                self.rows["moved"], key=lambda row: row[6]
            )
        }

    @property
    def refused(self) -> dict[str, str]:
        """Why tables of one plan were set aside, by name."""
        return {tabela: reason for tabela, reason in self.rows["refused"]}

    @property
    def forgotten(self) -> dict[str, datetime]:
        """By name: reads of a table in snapshots before this time are void."""
        return {tabela: utc(until) for tabela, until in self.rows["forgotten"]}

    @property
    def set_aside(self) -> dict[str, str]:
        """The tables that were set aside when they were last planned, with the reason."""
        return {tabela: reason for tabela, reason in self.rows["set_aside"]}

    @property
    def exchanged(self) -> list[str]:
        """The tables with a row of kind `exchanged` after their last copy."""
        return [tabela for (tabela,) in self.rows["exchanged"]]


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
        "open_sessions": [session._asdict() for session in sorted(entry.notes.sessions)],
        "prepared": [
            {**noted.transaction._asdict(), "since": noted.since} for noted in sorted(entry.notes.prepared)
        ]
        + [{**found._asdict(), "since": None} for found in sorted(entry.notes.prepared_elsewhere)],
        "settles": list(settles),
        "rows": entry.rows,
        "money": entry.money,
        "run_id": entry.attempt.run_id,
        "try_number": entry.attempt.try_number,
        "started_at": entry.started_at,
        "finished_at": entry.finished_at,
        "reason": entry.reason,
        "seen": list(entry.seen),
        "parts": [part._asdict() for part in entry.parts],
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
