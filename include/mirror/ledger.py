"""The ledger, `vendas_raw.cargas`: what each window moved, and which transactions were open when it was read.

A window is done when its row is here, and not before. Rows are only ever added, several windows of one
snapshot in a single INSERT, so a crash leaves either all of them or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from include.mirror.cluster import Cluster
from include.mirror.plan import LedgerState, NotedPrepared, Notes, Pending, Prepared, Read, Session
from include.mirror.warehouse import SETTINGS
from include.mirror.window import Window

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

TABLE = "cargas"
WINDOW, REREAD = "window", "reread"


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
    """One ledger row. `money` holds the exact sum of each decimal column of the rows moved."""

    id: UUID
    read: Read
    attempt: Attempt
    version: int
    snapshot_xmin: int
    source_system: int
    notes: Notes
    rows: int
    money: dict[str, Decimal]
    noted_at: datetime
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True)
class Ledger:
    """The ledger's table in one database; `queries` is the folder with its SQL."""

    client: Client
    database: str
    queries: Path
    cluster: Cluster | None = None

    def newest_version(self) -> int:
        """Return the highest version that any window was read with, 0 for none."""
        return int(self._query("read_newest_version")[0][0])

    def coverage(self) -> list[Window]:
        """Return what is covered."""
        return [
            Window(tabela, _utc(inicio), _utc(fim), key_from, key_to)
            for tabela, inicio, fim, key_from, key_to in self._query("read_coverage")
        ]

    def state(self) -> LedgerState:
        """Return what is covered and what is owed."""
        coverage = self.coverage()
        pending = [
            Pending(
                entry_id,
                Window(tabela, _utc(inicio), _utc(fim), key_from, key_to),
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
            ) in self._query("read_pending")
        ]
        return LedgerState(coverage, pending)

    def done(self, plan: UUID) -> set[tuple[Window, bool]]:
        """Return the windows that one planning has seen through, each with whether it was a re-read."""
        return {
            (Window(tabela, _utc(inicio), _utc(fim), key_from, key_to), kind == REREAD)
            for kind, tabela, inicio, fim, key_from, key_to in self._query("read_done", {"plan": plan})
        }

    def write(self, entries: Sequence[Entry]) -> None:
        """Add rows, all or none of them."""
        columns = [_row(entry) for entry in entries]
        self.client.insert(
            TABLE,
            [list(row.values()) for row in columns],
            column_names=list(columns[0]),
            database=self.database,
            settings=SETTINGS,
        )

    def _query(self, name: str, parameters: dict[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        if self.cluster is not None:
            # Rows that were written on another replica before this moment are read as well.
            self.client.command(f"SYSTEM SYNC REPLICA {self.database}.{TABLE} LIGHTWEIGHT")
        text = (self.queries / f"{name}.sql").read_text()
        result: Sequence[Sequence[Any]] = self.client.query(text, parameters=parameters).result_rows
        return result


def _row(entry: Entry) -> dict[str, Any]:
    window = entry.read.window
    return {
        "id": entry.id,
        "plan": entry.attempt.plan,
        "tabela": window.tabela,
        "kind": WINDOW if entry.read.reread is None else REREAD,
        "inicio": window.inicio,
        "fim": window.fim,
        "key_from": window.key_from,
        "key_to": window.key_to,
        "version": entry.version,
        "snapshot_xmin": entry.snapshot_xmin,
        "source_system": entry.source_system,
        "noted_at": entry.noted_at,
        "open_sessions": [tuple(session) for session in sorted(entry.notes.sessions)],
        "prepared": [(*noted.transaction, noted.since) for noted in sorted(entry.notes.prepared)]
        + [(*found, None) for found in sorted(entry.notes.prepared_elsewhere)],
        "settles": list(entry.read.reread.settles) if entry.read.reread else [],
        "rows": entry.rows,
        "money": entry.money,
        "run_id": entry.attempt.run_id,
        "try_number": entry.attempt.try_number,
        "started_at": entry.started_at,
        "finished_at": entry.finished_at,
    }


def _notes(sessions: Sequence[Any], prepared: Sequence[Any]) -> Notes:
    return Notes(
        frozenset(Session(s["pid"], _utc(s["connected_at"]), _utc(s["start"])) for s in sessions),
        frozenset(
            NotedPrepared(Prepared(p["xid"], p["gid"]), _utc(p["since"])) for p in prepared if p["since"]
        ),
        frozenset(Prepared(p["xid"], p["gid"]) for p in prepared if not p["since"]),
    )


def _utc(value: datetime) -> datetime:
    # The client returns naive datetimes for columns in UTC, whichever way it is configured.
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
