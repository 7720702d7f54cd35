"""The state of each table, in one word: equal, follows, differs, or never compared.

At its end, a run writes to the table `estados` up to when each table is covered. The view `estado` compares that with the
last reconciliation, and computes the word; nothing else computes it. A table that was never compared is never called equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from include.mirror import contract, names, telemetry
from include.mirror.counts import Count, held
from include.mirror.declaration import WAYS
from include.mirror.deletes import delete_method, is_small
from include.mirror.engine import Engine
from include.mirror.errors import WrongRowsError
from include.mirror.ledger import ALWAYS, Ledger, questions_of
from include.mirror.plan import LedgerState, covered_until, instant
from include.mirror.source.look import look
from include.mirror.spec import TableSpec
from include.mirror.warehouse.client import utc

TABLE, VIEW = "estados", "estado"


def note(engine: Engine, run_id: str, contents: contract.Contents | None = None) -> dict[str, Count]:
    """Note how far each mirrored table has come; return both sides' counts of the tables that could be counted.

    `contents` is the content of the warehouse if it was read after the run has moved its rows.
    """
    with engine.clients() as (source, client):
        resolved = engine.specs(source)
        contents = contents or contract.read(engine.warehouse, client)
        specs = resolved.specs
        known = Ledger(engine.warehouse, client, built=contract.builds(contents)).ask(
            *questions_of(WAYS), "newest_reads", "set_aside"
        )
        state = known.state
        owed = Counter(one.window.tabela for one in state.pending)
        rows = {name: contents.storage[name].rows if name in contents.storage else 0 for name in specs}
        limit = engine.options.compare_keys
        aside = known.set_aside | resolved.refused
        # Where the table has no rows before its first window, that is how far all of it is covered.
        reached = {
            name: end
            for name, spec in specs.items()
            if spec.way == "window" and not owed[name] and name not in aside and name in contents.views
            if is_small(spec, rows[name], limit)
            and (end := covered_until(state.coverage, name, None, ALWAYS))
        }
        theirs = held(engine.warehouse, client, reached)
        seen = look(source, specs.values(), engine.source.zone, reached)
        # A standby may lack rows that the primary has: it is refused.
        seen.identity(sessions=False)
        aside |= seen.wrong
        until = {
            name: _covered(
                spec, state, seen.oldest.get(name), seen.now, known.newest_reads.get((name, "copy"))
            )
            for name, spec in specs.items()
        }
        counts = {
            name: Count(seen.counted[name], theirs[name])
            for name, end in reached.items()
            if name in seen.counted
            and name not in aside
            and (covered := until[name])
            and covered >= min(end, seen.now)
        }
        noted = []
        for name in sorted({*specs, *resolved.refused}):
            spec, covered = specs.get(name), until.get(name)
            deletes = delete_method(spec, rows[name], limit) if spec else None
            noted.append(
                {
                    "seen_at": seen.now,
                    "run_id": run_id,
                    "tabela": name,
                    "way": spec.way if spec else "",
                    "way_reason": spec.reason if spec else "",
                    "deletes": deletes.by if deletes else "",
                    "deletes_reason": deletes.reason if deletes else "",
                    "rows_about": spec.rows if spec else None,
                    "covered_until": covered,
                    "owed": owed[name],
                    "lacking": counts[name].lacking if name in counts else None,
                    "set_aside": aside.get(name, ""),
                }
            )
            if covered and spec and spec.way != "copy":
                telemetry.covered(engine.declaration.name, name, covered, seen.now)
        if noted:
            engine.warehouse.insert(client, TABLE, noted)
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
    """Raise WrongRowsError if the warehouse lacks keys that are not on their way."""
    if lacking := {name: one for name, one in sorted(counts.items()) if one.lacking}:
        lacks = "; ".join(
            f"{name} has {one.source} keys in the source and {one.warehouse} in the warehouse"
            for name, one in lacking.items()
        )
        raise WrongRowsError(
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
