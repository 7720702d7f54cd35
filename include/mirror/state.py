"""The state of each table, in one word: equal, follows, differs, or never compared.

At its end, a run writes to the table `estados` up to when each table is covered. The view `estado` compares that with the
last reconciliation, and computes the word; nothing else computes it. A table that was never compared is never called equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from include.mirror import contract, names
from include.mirror.counts import Count, count
from include.mirror.deletes import is_small, means
from include.mirror.engine import Engine
from include.mirror.errors import WrongError
from include.mirror.ledger import Ledger
from include.mirror.plan import LedgerState, covered_until, instant
from include.mirror.source.clock import clock
from include.mirror.source.table import oldest_changes
from include.mirror.source.transactions import check_server
from include.mirror.spec import TableSpec
from include.mirror.warehouse.client import utc

TABLE, VIEW = "estados", "estado"


def note(engine: Engine, run_id: str) -> dict[str, Count]:
    """Write up to when each mirrored table is covered. Return the counts of both sides, for the tables that were counted."""
    with engine.clients() as (source, client):
        resolved = engine.specs(source)
        contents = contract.read(engine.warehouse, client)
        identity = check_server(source, sessions=False)
        ledger = Ledger(engine.warehouse, client, identity.timeline, contract.builds(contents))
        specs = resolved.specs
        oldest, wrong = oldest_changes(source, specs.values(), engine.source.zone)
        now = clock(source)
        state = ledger.state()
        whole = ledger.newest_reads()
        aside = ledger.set_aside() | resolved.refused | wrong
        until = {
            name: _covered(spec, state, oldest.get(name), now, whole.get((name, "copy")))
            for name, spec in specs.items()
        }
        owed = Counter(one.window.tabela for one in state.pending)
        held = {name: contents.storage[name].rows if name in contents.storage else 0 for name in specs}
        limit = engine.options.compare_keys
        counts = count(
            engine,
            source,
            client,
            {
                spec: reached
                for name, spec in specs.items()
                if spec.way == "window" and (reached := until[name]) and not owed[name] and name not in aside
                if name in contents.views and is_small(spec, held[name], limit)
            },
        )
        rows = []
        for name in sorted({*specs, *resolved.refused}):
            spec = specs.get(name)
            deletes = means(spec, held[name], limit) if spec else None
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
                    "covered_until": until.get(name),
                    "owed": owed[name],
                    "lacking": counts[name].lacking if name in counts else None,
                    "set_aside": aside.get(name, ""),
                }
            )
        if rows:
            engine.warehouse.insert(client, TABLE, rows)
        return counts


def _covered(
    spec: TableSpec, state: LedgerState, oldest: datetime | None, now: datetime, copied: int | None
) -> datetime | None:
    """Return the moment up to which all rows committed to a table are in the warehouse, None if there is none."""
    if spec.way == "window":
        return covered_until(state.coverage, spec.name, oldest, now)
    if spec.way == "copy":
        return instant(copied) if copied else None
    return next((scan.taken_at for scan in state.scans if scan.tabela == spec.name), None)


def refuse_lacking(counts: Mapping[str, Count]) -> None:
    """Raise WrongError if the warehouse lacks keys that are not on their way."""
    if lacking := {name: one for name, one in sorted(counts.items()) if one.lacking}:
        lacks = "; ".join(
            f"{name} has {one.source} keys in the source and {one.warehouse} in the warehouse"
            for name, one in lacking.items()
        )
        raise WrongError(
            f"{lacks}, and no row is on its way: reconciliation (reconciliar_<name>) names the keys and repairs them"
        )


def read(engine: Engine) -> list[dict[str, Any]]:
    """Return the rows of the view `estado`, worst first, as JSON values: times as ISO texts."""
    with engine.warehouse.client() as client:
        view = names.ch(engine.warehouse.views, VIEW)
        return [_json(row) for row in client.query(f"SELECT * FROM {view}").named_results()]  # noqa: S608


def _json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: utc(value).isoformat() if isinstance(value, datetime) else value for name, value in row.items()
    }
