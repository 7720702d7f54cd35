"""What is known of each table, in one word: equal, follows, differs, or never compared.

A run notes at its end how far each table has come (`estados`, a neighbour of the ledger). The view `estado` holds that
against the last comparison, and says the word; nothing else says it. What was not compared is never called equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from include.mirror import contract, names
from include.mirror.deletes import means
from include.mirror.engine import Engine
from include.mirror.ledger import Ledger
from include.mirror.plan import covered_until, instant
from include.mirror.source.clock import clock
from include.mirror.source.table import oldest_changes
from include.mirror.source.transactions import check_server
from include.mirror.warehouse.client import utc

TABLE, VIEW = "estados", "estado"


def note(engine: Engine, run_id: str) -> None:
    """Note how far each mirrored table has come."""
    with engine.clients() as (source, client):
        resolved = engine.specs(source)
        contents = contract.read(engine.warehouse, client)
        identity = check_server(source, sessions=False)
        ledger = Ledger(engine.warehouse, client, identity.timeline, contract.builds(contents))
        specs = resolved.specs
        oldest, wrong = oldest_changes(source, specs.values(), engine.source.zone)
        now = clock(source)
        state = ledger.state()
        scans = {scan.tabela: scan.taken_at for scan in state.scans}
        whole = ledger.newest_reads()
        aside = ledger.set_aside() | resolved.refused | wrong
        rows = []
        for name in sorted({*specs, *resolved.refused}):
            spec = specs.get(name)
            until: datetime | None = None
            if spec is not None and spec.way == "window":
                until = covered_until(state.coverage, name, oldest.get(name), now)
            elif spec is not None:
                copied = whole.get((name, "copy")) if spec.way == "copy" else None
                until = instant(copied) if copied else scans.get(name)
            held = contents.storage[name].rows if name in contents.storage else 0
            deletes = means(spec, held, engine.options.compare_keys) if spec else None
            rows.append(
                {
                    "seen_at": now,
                    "run_id": run_id,
                    "tabela": name,
                    "way": spec.way if spec else "",
                    "way_reason": spec.reason if spec else "",
                    "deletes": deletes.by if deletes else "",
                    "deletes_reason": deletes.reason if deletes else "",
                    "rows_about": spec.rows if spec else None,
                    "covered_until": until,
                    "owed": sum(one.window.tabela == name for one in state.pending),
                    "set_aside": aside.get(name, ""),
                }
            )
        if rows:
            engine.warehouse.insert(client, TABLE, rows)


def read(engine: Engine) -> list[dict[str, Any]]:
    """Return the rows of the view `estado`, worst first, as JSON values: times as ISO texts."""
    with engine.warehouse.client() as client:
        view = names.ch(engine.warehouse.views, VIEW)
        return [_json(row) for row in client.query(f"SELECT * FROM {view}").named_results()]  # noqa: S608


def _json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: utc(value).isoformat() if isinstance(value, datetime) else value for name, value in row.items()
    }
