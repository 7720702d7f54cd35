"""The steps of a run's tasks: plan, move a batch, check that every planned read is done."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.exceptions import Error as ClickHouseError

from include.conventions.conf import refuse_unknown
from include.conventions.heals import clickhouse_heals
from include.mirror import batch as batches
from include.mirror import claims, contract, names, telemetry
from include.mirror.batch import Batch
from include.mirror.declaration import STAGE_PREFIX, WAYS, Mirror
from include.mirror.delete_log import KEPT, TRUSTED
from include.mirror.deletes import delete_method, detached
from include.mirror.engine import Engine, Resolved, built_since, rows_behind
from include.mirror.errors import RebuiltError, RefusedError, SchemaError, VerificationError, WarehouseError
from include.mirror.ledger import ALWAYS, TABLE, Answers, Attempt, Entry, Ledger, Moved, questions_of
from include.mirror.ledger import identity as identity_of
from include.mirror.move import Mover
from include.mirror.origin import check_source
from include.mirror.plan import (
    Copy,
    Keys,
    LedgerState,
    Log,
    OpenTransactions,
    Read,
    Rebuild,
    Scan,
    Sweep,
    Work,
    covered_until,
    instant,
    plan,
    scan,
    sweep,
)
from include.mirror.plan import log as log_work
from include.mirror.rebuild import Rebuilder
from include.mirror.source.changes import wall_range
from include.mirror.source.clock import clock, refuse_future
from include.mirror.source.log import prune
from include.mirror.source.look import Look, look
from include.mirror.source.session import Connection
from include.mirror.source.table import SourceTable, larger
from include.mirror.source.transactions import (
    Identity,
    open_transactions,
    warn_of_subscriptions,
)
from include.mirror.spec import TableSpec
from include.mirror.templates import render
from include.mirror.turns import Turn, overlap
from include.mirror.types import is_known
from include.mirror.warehouse import parts
from include.mirror.warehouse.client import Warehouse
from include.mirror.warehouse.ddl import is_mirrored, is_mirrored_table, read_table_comment
from include.mirror.warehouse.merges import merge
from include.mirror.warehouse.table import WarehouseTable
from include.mirror.window import Interval, Window, choose, rebuilds, resolve

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

log = logging.getLogger(__name__)

CONF_KEYS = ("inicio", "fim", "tabelas", "aceitar_fonte", "reconstruir")

EXCHANGING = ("Atomic", "Replicated", "Shared")
"""The database engines in which two tables can be exchanged."""

WAYS_OF: Mapping[type[Work], Collection[str]] = {
    Read: ("window",),
    Sweep: ("window",),
    Keys: ("window", "scan"),
    Log: ("window", "scan"),
    Scan: ("scan",),
    # Also for a table that was dropped and made again in the source, whatever its way.
    Copy: WAYS,
    Rebuild: WAYS,
}
"""For each kind of read, the ways of the tables that it can be planned for."""


def plan_run(
    engine: Engine,
    conf: Mapping[str, Any],
    data_interval: tuple[datetime | None, datetime | None],
    run_id: str = "",
    is_live: claims.IsLive | None = None,
) -> list[Batch]:
    """Return everything that is owed, in batches. Errors are raised before anything is loaded.

    A table with an error is set aside: its reason is written to the ledger, `check_run` raises it, and all other tables are
    moved. Reads that other runs have planned are left to those runs while `is_live(run_id)` is true for them. Without
    `is_live`, no other runs are looked for.
    """
    refuse_unknown(conf, CONF_KEYS)
    declaration = engine.declaration
    if wanted := rebuilds(conf):
        return _plan_rebuilds(engine, wanted, run_id)
    request = resolve(conf, data_interval, None if declaration.schema else declaration.names)
    plan_id = uuid4()
    with engine.clients() as (source, client):
        # Asked before the catalog is read: if a table is emptied after this, all its rows are of transactions that began
        # at `behind` or later.
        behind = claims.take_planning_lock(source, declaration.label)
        resolved = engine.specs(source)
        specs, refused = resolved.specs, resolved.refused
        chosen = choose(request.tabelas, (*specs, *refused))
        standing = _look(engine, source, client, resolved, specs)
        warn_of_subscriptions(specs.values())
        seen, now = standing.seen, standing.seen.now
        if not request.fill_gaps:
            refuse_future(now, request.interval.fim)
        prepared = _prepare(
            engine, source, client, resolved, standing, accept=conf.get("aceitar_fonte") is True
        )
        tables, ledger = prepared.tables, prepared.ledger
        # Read the claims before the ledger: runs that have ended by now have written their ledger rows by then.
        taken = claims.read(ledger, standing.noted, run_id, is_live) if is_live else claims.Claims()
        ways = {specs[name].way for name in tables}
        known = ledger.ask(
            *questions_of(ways),
            *("exchanged", "logs"),
            before=ALWAYS if request.fill_gaps else request.interval.inicio,
            kept=now - KEPT,
        )
        state = known.state
        _report_lag(declaration.name, state, seen.oldest, specs.values(), now)
        if request.fill_gaps:
            state = taken.with_claims_done(state)
        windows = [name for name in tables if specs[name].way == "window"]
        # The ledger first: a transaction that ends between the two is then found gone, not overlooked.
        open_now = open_transactions(source) if state.pending else OpenTransactions()
        asked = replace(request, tabelas=tuple(name for name in chosen if name in windows))
        reads: list[Work] = [*plan(state, open_now, asked, seen.oldest, windows)]
        if request.fill_gaps and now > request.interval.fim:
            # A table that is read from the start is read up to now, so that nobody sees half of it until the next run.
            late = tuple(name for name in asked.tabelas if name in prepared.again)
            rest = replace(asked, interval=Interval(request.interval.fim, now), tabelas=late)
            reads += plan(LedgerState(), open_now, rest, {}, ())
        reads += [Copy(name) for name in known.exchanged if name in tables and specs[name].way != "copy"]
        for name in chosen:
            if name in tables and specs[name].way != "window":
                reads.append(scan(state, name) if specs[name].way == "scan" else Copy(name))
            elif name in tables and request.fill_gaps and engine.options.sweep is not None:
                due = sweep(state, name, now, engine.options.sweep)
                reads += [due] if due else []
        deletes = {
            name: delete_method(table.spec, table.rows, engine.options.compare_keys)
            for name, table in tables.items()
        }
        if request.fill_gaps:
            # Also for tables that are read from the start: they may hold old rows whose keys the source no longer has.
            by = {name: deletes[name].by for name in chosen if name in tables}
            reads += [Keys(name) for name in by if by[name] == "keys"]
            reads += _read_logs(source, known, [tables[name].spec for name in by if by[name] == "log"], now)
            reads = [read for read in reads if not taken.has(read)]
        if is_live:
            # After what was forgotten: that makes earlier claims void.
            noted_at = clock(source) if prepared.forgot else now
            left = reads if request.fill_gaps else claims.of_range(reads, noted_at)
            claims.note(ledger, plan_id, run_id, left, noted_at, taken.over)
        filled = [
            read.window
            for read in reads
            if isinstance(read, Read) and read.reread is None
            if not _is_idle(read, tables[read.tabela].spec, seen, engine.source.zone)
        ]
        if filled:
            # Release the lock: finding large windows, and where to split them, may take long.
            claims.release_planning_lock(source, declaration.label)
        large = _large(engine, source, tables, filled)

        def split(window: Window) -> list[Window]:
            if window not in large:
                return [window]
            table = SourceTable(source, tables[window.tabela].spec, engine.source.zone)
            return table.split(window, engine.options.max_rows)

        def is_small(work: Work) -> bool:
            rows = specs[work.tabela].rows
            if isinstance(work, Log) and work.xmin is not None:
                return True
            if isinstance(work, Keys | Log):
                return max(rows or 0, tables[work.tabela].rows) <= engine.options.max_rows
            # Even many tables of this size fit into one short snapshot.
            return rows is not None and 20 * rows <= engine.options.max_rows

        planned = batches.group(reads, split, plan_id, engine.options.tasks, is_small)
        everything = not conf.get("tabelas")
        asked_in_vain = {name: text for name, text in refused.items() if everything or name in chosen}
        if asked_in_vain:
            ledger.refuse(Attempt(plan_id, run_id, 1), asked_in_vain)
    for name in tables:
        log.info("%s is read by %s: %s", specs[name].label, specs[name].way, specs[name].reason)
        log.info("deleted rows of %s are found by %s: %s", specs[name].label, *deletes[name])
    _log_plan(refused, reads)
    # A plan without reads gets an empty batch, so that the check runs all the same.
    return [
        replace(
            batch,
            timeline=standing.identity.timeline,
            built={name: since for name, since in ledger.built.items() if name in batch.tables},
            behind=behind,
            planned_at=now,
            idle=all(_is_idle(read, specs[read.tabela], seen, engine.source.zone) for read in batch.reads),
        )
        for batch in planned or [Batch(plan_id, ())]
    ]


def _large(
    engine: Engine, source: Connection, tables: Mapping[str, WarehouseTable], windows: Sequence[Window]
) -> set[Window]:
    """Return which of these windows have more rows than one piece has."""
    if len(windows) == 1:
        # Splitting it shows whether it is large.
        return set(windows)
    specs = {window: tables[window.tabela].spec for window in windows}
    return larger(source, specs, engine.source.zone, engine.options.max_rows)


def _is_idle(read: Work, spec: TableSpec, seen: Look, zone: ZoneInfo) -> bool:
    """Return whether a read will hardly find rows, by what was seen of the source while it was planned."""
    if isinstance(read, Read) and read.reread is None:
        newest = seen.newest.get(spec.name)
        return newest is None or newest < wall_range(spec, read.window.inicio, read.window.fim, zone)[0]
    return isinstance(read, Keys) or (isinstance(read, Log) and read.xmin is not None)


def _read_logs(source: Connection, known: Answers, specs: Sequence[TableSpec], now: datetime) -> list[Log]:
    """Return the reads of the delete logs, and delete from them the rows that every mirror has read."""
    logs = {spec.name: (spec, spec.log.identity) for spec in specs if spec.log is not None}
    old = [one for one in known.old_logs if one.tabela in logs and one.log == logs[one.tabela][1]]
    prune(source, [(logs[one.tabela][0], one) for one in old])
    return [log_work(known.logs, name, identity, now, TRUSTED) for name, (_, identity) in logs.items()]


def _plan_rebuilds(engine: Engine, wanted: Sequence[str], run_id: str) -> list[Batch]:
    """Return the batches of a run that rebuilds tables and does nothing else.

    A source table that no longer fits the warehouse's table is not refused: a rebuild repairs that.
    """
    declaration = engine.declaration
    if declaration.schema is None:
        choose(wanted, declaration.names, "reconstruir")
    plan_id = uuid4()
    with engine.clients() as (source, client):
        claims.take_planning_lock(source, declaration.label)
        _check_exchange(engine.warehouse, client)
        resolved = engine.specs(source)
        chosen = choose(wanted, (*resolved.specs, *resolved.refused), "reconstruir")
        specs = {name: spec for name, spec in resolved.specs.items() if name in chosen}
        standing = _look(engine, source, client, resolved, specs)
        warn_of_subscriptions(specs.values())
        identity = standing.identity
        ledger = _prepare(engine, source, client, resolved, standing, accept=False, rebuilt=chosen).ledger
        reads = [Rebuild(name) for name in chosen if name not in resolved.refused]
        planned = batches.group(reads, lambda window: [window], plan_id, engine.options.tasks)
        refused = {name: text for name, text in resolved.refused.items() if name in chosen}
        if refused:
            ledger.refuse(Attempt(plan_id, run_id, 1), refused)
    _log_plan(refused, reads)
    return [replace(batch, timeline=identity.timeline) for batch in planned or [Batch(plan_id, ())]]


def _log_plan(refused: Mapping[str, str], reads: Iterable[Work]) -> None:
    for name, reason in refused.items():
        log.error("%s is set aside: %s", name, reason)
    for read in reads:
        log.info("%s %s", read.kind, read)


def _check_exchange(warehouse: Warehouse, client: Client) -> None:
    """Raise WarehouseError if the warehouse can't exchange two tables."""
    if warehouse.cluster is not None:
        raise WarehouseError(
            f"reconstruir is for a single server, and the warehouse is the cluster {warehouse.cluster.name}: its replicas "
            "would not exchange both tables at the same moment. Run DROP TABLE … ON CLUSTER … SYNC instead "
            "(docs/scaling.md): the next run creates the table and reads all of it"
        )
    found = client.query(
        "SELECT engine FROM system.databases WHERE name = {storage:String}",
        parameters={"storage": warehouse.storage},
    ).result_rows
    if found and found[0][0] not in EXCHANGING:
        raise WarehouseError(
            f"the database {warehouse.storage} has engine {found[0][0]}, which can't exchange two tables: it must be "
            f"{' or '.join(EXCHANGING)}. Drop the table instead: the next run creates it and reads all of it"
        )


@dataclass(frozen=True)
class _Standing:
    """Both sides before anything is changed: the warehouse's tables, the ledger's notes (empty if there is no ledger), and
    the source, which was read last."""

    contents: contract.Contents
    noted: Answers
    seen: Look
    identity: Identity


def _look(
    engine: Engine, source: Connection, client: Client, resolved: Resolved, specs: Mapping[str, TableSpec]
) -> _Standing:
    """Read the state of both sides. An existing ledger is first migrated to this version.

    Of `specs`, tables with rows that can't be mirrored are added to `resolved.refused`.
    """
    warehouse = engine.warehouse
    if warehouse.cluster is not None:
        warehouse.cluster.check(client)
    contents = contract.read(warehouse, client)
    # Before anything is written: a migration notes a row, and an empty ledger would be taken for a new one afterwards.
    _check_ledger(warehouse, contents, resolved)
    noted = Answers({"source": (), "noted_parts": (), "parts": (), "claims": ()})
    if TABLE in contents.storage:
        ledger = Ledger(warehouse, client, built=contract.builds(contents))
        ledger.prepare(contents.storage)
        noted = ledger.ask(*noted.rows, storage=warehouse.storage, tables=[*specs])
    # After the ledger: see check_source.
    seen = look(source, specs.values(), engine.source.zone)
    resolved.refused |= seen.wrong
    identity = seen.identity(sessions=any(spec.way == "window" for spec in specs.values()))
    return _Standing(contents, noted, seen, identity)


def _prepare(
    engine: Engine,
    source: Connection,
    client: Client,
    resolved: Resolved,
    standing: _Standing,
    *,
    accept: bool,
    rebuilt: Collection[str] = (),
) -> _Prepared:
    """Bring the warehouse in line with the source, and return its tables as they are then.

    A table that does not fit is added to `resolved.refused`. With `accept`, a source other than before is accepted. With
    `rebuilt`, only these tables are looked at: missing ones are created, existing ones are not changed.
    """
    warehouse, refused, contents, identity = (
        engine.warehouse,
        resolved.refused,
        standing.contents,
        standing.identity,
    )
    ledger = Ledger(warehouse, client, identity.timeline, contract.builds(contents))
    known = TABLE in contents.storage
    if not rebuilt:
        _refuse_what_is_gone(engine.declaration, contents, resolved, warehouse)
    if not known:
        for database in (warehouse.storage, warehouse.views):
            warehouse.create(client, render("create_database", database=names.ch(database)))
        ledger.prepare(contents.storage)
    if known and TABLE not in contents.views:
        ledger.create_view()
    specs = resolved.specs
    exchanged = check_source(warehouse, standing.noted.source, identity, accept=accept)
    for name in [name for name in rebuilt if name in specs and name in contents.storage]:
        try:
            contract.check_replaceable(warehouse, specs[name], contents)
        except SchemaError as error:
            refused[name] = str(error)
    if rebuilt:
        specs = {name: specs[name] for name in rebuilt if name in specs and name not in contents.storage}
    if any(name not in contents.storage for name in specs):
        specs = engine.specs(source, specs if rebuilt else None, new=True).specs
    agreements: dict[str, contract.Agreement] = {}
    for name, spec in specs.items():
        if name in refused:
            continue
        try:
            agreed = contract.agree(warehouse, spec, contents.storage.get(name))
            contract.lacks_view(warehouse, contents.views.get(name), agreed.spec)
        except SchemaError as error:
            refused[name] = str(error)
            continue
        agreements[name] = agreed
        rows = contents.storage[name].rows if name in contents.storage else 0
        if left := detached(agreed.spec, rows, engine.options.compare_keys):
            log.warning("%s: %s", spec.label, left)
        for column in agreed.new if agreed.stored else agreed.spec.columns:
            if not is_known(column.source):
                log.info(
                    "%s.%s (%s) travels as PostgreSQL's own text: its type has no entry in docs/types.md",
                    spec.label,
                    column.name,
                    column.source.declared,
                )
    noted = standing.noted.noted_parts
    now = parts.by_table(standing.noted.rows["parts"])
    if any(parts.lost(noted.get(name, ()), now.get(name, ())) for name in agreements):
        # Another run may have published and noted parts in between: read the parts again, after its note.
        now = parts.read(warehouse, client, noted.keys() & agreements.keys())
    again = {
        name: reason
        for name, one in agreements.items()
        if (
            reason := exchanged
            or one.again
            or parts.lost(noted.get(name, ()), now.get(name, ()))
            or rows_behind(source, one, None, engine.source.zone)
        )
    }
    if exchanged:
        # Tables that are set aside today, or no longer declared, must not go on from what was read of the other source.
        again |= {
            name: exchanged for name in contents.storage if is_mirrored_table(contents.storage[name].comment)
        }
    there = {name for name in again if name in contents.storage}
    if known and again:
        for name, reason in again.items():
            level = logging.WARNING if name in there else logging.INFO
            log.log(level, "%s is read from the start: %s", name, reason)
        # The clock is asked after the catalog was read: a snapshot that is older may be older than the change.
        ledger.forget(
            again,
            clock(source),
            [name for name in again if exchanged or agreements[name].exchanged],
            identity if exchanged else None,
        )
    changed = False
    for name, one in agreements.items():
        try:
            changed |= contract.prepare(warehouse, client, one)
            view = contents.views.get(name)
            if view is None or not (name in again or contract.is_bridged(warehouse, view)):
                # Until old rows are read again, they have no values for a new column. refresh_views adds it afterwards.
                contract.create_view(warehouse, client, one.spec, view)
        except ClickHouseError as error:
            if clickhouse_heals(error):
                raise
            refused[name] = (
                f"ClickHouse refused what {specs[name].label} needs: {' '.join(str(error).split())}"
            )
    if changed:
        contents = contract.read(warehouse, client)
    if warehouse.cluster is not None:
        warehouse.cluster.check_replicas(client, warehouse.storage, (TABLE, *agreements))
    # Twice the task's time limit: an attempt that Airflow gave up on may take a moment to end.
    contract.drop_old_stages(warehouse, client, contents, 2 * engine.options.timeout)
    tables = {
        name: contract.bind(warehouse, client, contract.agree(warehouse, spec, contents.storage.get(name)))
        for name, spec in specs.items()
        if name in agreements and name not in refused
    }
    return _Prepared(tables, frozenset(there), bool(again), ledger)


@dataclass(frozen=True)
class _Prepared:
    """The result of `_prepare`: `tables` are the tables as they are in the warehouse now, and `ledger` is their ledger.

    `again` are the names of tables that existed and are read from the start. `forgot` is True if any table is read from
    the start.
    """

    tables: dict[str, WarehouseTable]
    again: frozenset[str]
    forgot: bool
    ledger: Ledger


def _refuse_what_is_gone(
    declaration: Mirror, contents: contract.Contents, resolved: Resolved, warehouse: Warehouse
) -> None:
    """Refuse warehouse tables that are no longer mirrored under their name: their views would go on showing old rows.

    That is a table that the declaration gave another name, or, for a mirrored schema, one that is gone from the source.
    """
    now = {spec.oid: spec for spec in resolved.specs.values()}
    for name, stored in contents.storage.items():
        noted = read_table_comment(stored.comment)
        spec = now.get(noted.oid) if noted else None
        if spec is None or name in resolved.specs or name.startswith(STAGE_PREFIX):
            continue
        if not stored.comment.startswith(f"{spec.source_name} (oid "):
            # The table was renamed in the source, not in the declaration.
            continue
        resolved.refused[name] = (
            f"the declaration calls {spec.label} {spec.name} in the warehouse now, and {warehouse.views}.{name} shows what "
            f"it last held: give it its name back, to={name!r}; or, once nobody reads the old one, run "
            f"{_drop(warehouse, name)}"
        )
    schema = declaration.schema
    if schema is None:
        return
    left_out = {declaration.name_in_warehouse(schema.name, name) for name in schema.leave_out}
    for name, stored in contents.storage.items():
        mirrored = is_mirrored_table(stored.comment) and not name.startswith(STAGE_PREFIX)
        if mirrored and name not in resolved.specs and name not in left_out:
            resolved.refused.setdefault(
                name,
                f"the source has no table for {warehouse.views}.{name} any more, which shows what it last held: bring it "
                f"back, or run {_drop(warehouse, name)}",
            )


def _drop(warehouse: Warehouse, name: str) -> str:
    return (
        f"DROP VIEW {names.ch(warehouse.views, name)} and DROP TABLE {names.ch(warehouse.storage, name)} SYNC"
    )


def refresh_views(engine: Engine, tables: Collection[str], contents: contract.Contents) -> None:
    """Bring the views of these tables in line with their columns.

    A view may lack a new column until old rows have been read again. A rebuild that was killed may have left its bridge.
    """
    warehouse = engine.warehouse
    behind = {
        name
        for name in tables
        if (view := contents.views.get(name))
        and (stored := contents.storage.get(name))
        and (
            contract.is_bridged(warehouse, view)
            or {column for column, noted in stored.columns.items() if is_mirrored(noted.comment)}
            != view.columns.keys()
        )
    }
    if not behind:
        return
    with engine.clients() as (source, client):
        current, _ = engine.tables(source, client, behind)
        for name, table in current.items():
            contract.create_view(warehouse, client, table.spec, contents.views[name])


def _check_ledger(warehouse: Warehouse, contents: contract.Contents, resolved: Resolved) -> None:
    """Raise WarehouseError if tables hold rows while the ledger is empty or missing."""
    ledger = contents.storage.get(TABLE)
    if ledger is not None and ledger.rows:
        return
    if filled := [name for name in resolved.specs if (there := contents.storage.get(name)) and there.rows]:
        name = f"{warehouse.storage}.{TABLE}"
        raise WarehouseError(
            f"the ledger {name} is {'empty' if ledger else 'gone'}, while {', '.join(filled)} hold rows: it is not "
            "known when they were read. Restore the ledger from a backup; or, to read everything again, drop these tables: "
            + "; ".join(f"DROP TABLE {names.ch(warehouse.storage, one)} SYNC" for one in filled)
        )


def _unlike_planned(read: Work, spec: TableSpec) -> str | None:
    """Return how a table has changed so that its planned read makes no sense any more, None if the read still does."""
    if spec.way not in WAYS_OF[type(read)]:
        return f"is read by {spec.way}"
    if isinstance(read, Keys | Log) and spec.deletes == "keep":
        return "what is deleted is kept"
    if isinstance(read, Log) and spec.log is None:
        return "has no sound log of deleted keys"
    return None


def move_batch(engine: Engine, batch: Batch, run_id: str, try_number: int) -> dict[str, int]:
    """Move a batch, pass by pass, without the reads that an earlier try has done. Return the rows moved, by table."""
    attempt = Attempt(batch.plan, run_id, try_number)
    moved: Counter[str] = Counter()
    while True:
        try:
            for entry in _move(replace(engine, behind=batch.behind), batch, attempt):
                moved[entry.work.tabela] += entry.rows
        except RebuiltError as error:
            # What the rebuild has not read is moved into the new table, as if the task began now.
            log.info("beginning again: %s", error)
        else:
            return dict(moved)


def _move(engine: Engine, batch: Batch, attempt: Attempt) -> Iterator[Entry]:
    """Move what is not done of a batch. Raises RebuiltError if another run builds one of its tables anew meanwhile."""
    with engine.clients() as (source, client), ExitStack() as resources:
        inserting = engine.warehouse.lazy_client(resources)
        answers = Ledger(engine.warehouse, client).ask("done", "source", "warehouse", plan=batch.plan)
        contents = contract.from_rows(engine.warehouse, answers.rows["warehouse"])
        done = replace(answers, built=contract.builds(contents) if batch.rebuilds else {}).done
        tables, refused = (
            engine.new_tables(source, client, batch.tables)
            if batch.rebuilds
            else engine.tables(source, client, batch.tables, contents)
        )
        for name, table in tables.items():
            if not _is_rebuilt(batch, name, table.built):
                continue
            going_on = [read for read in batch.reads if read.tabela == name and _continues(read)]
            if all(_is_overtaken(read, batch, table.built) for read in going_on):
                done |= {identity_of(read) for read in going_on}
            else:
                refused[name] = built_since(table)
        for read in batch.reads:
            there = tables.get(read.tabela)
            if there is not None and (now := _unlike_planned(read, there.spec)):
                refused[read.tabela] = (
                    f"{there.spec.label} was planned as {read.kind}, and {now} now: the declaration or the table changed "
                    "while the run was under way, and the next run uses the new one"
                )
                del tables[read.tabela]
        mover = (Rebuilder if batch.rebuilds else Mover)(
            engine,
            source,
            client,
            inserting,
            tables,
            answers.source,
            batch.timeline,
            expected=not batch.idle,
        )
        if refused:
            mover.set_aside(attempt, refused)
        passes = []
        for reads in batch.passes:
            remaining = [
                read for read in reads if identity_of(read) not in done and read.tabela not in refused
            ]
            if len(remaining) < len(reads):
                log.info(
                    "%d reads were done by an earlier try of this plan or by a rebuild, or set aside",
                    len(reads) - len(remaining),
                )
            if remaining:
                passes.append(remaining)
        yield from _move_all(mover, passes, attempt)


def _move_all(mover: Mover, passes: Iterable[Sequence[Work]], attempt: Attempt) -> Iterator[Entry]:
    """Move pass by pass; the pieces of large windows last, one of which is read while the one before it is published."""
    pieces = []
    for works in passes:
        if len(works) == 1 and isinstance(works[0], Read) and works[0].reread is None:
            pieces.append(works)
        else:
            yield from mover.move(works, attempt)
    if len(pieces) < 2:
        for works in pieces:
            yield from mover.move(works, attempt)
        return
    turn = Turn()
    with mover.engine.clients() as (source, client):
        first = replace(mover, turn=turn)
        tables = {name: replace(table, client=client) for name, table in mover.tables.items()}
        second = replace(first, connection=source, client=client, tables=tables)
        yield from overlap(turn, pieces, [partial(one.move, attempt=attempt) for one in (first, second)])


def _is_rebuilt(batch: Batch, name: str, built: int) -> bool:
    """Return whether another run has rebuilt a table since this batch was planned."""
    return not batch.rebuilds and built != batch.built.get(name, 0)


def _continues(read: Work) -> bool:
    """Return whether a read goes on from an earlier read's notes. It is then valid only for the table of that earlier read.

    Windows, comparisons of keys and copies are valid for any table that they are moved into.
    """
    return not (isinstance(read, Keys | Copy) or (isinstance(read, Read) and read.reread is None))


def _is_overtaken(read: Work, batch: Batch, built: int) -> bool:
    """Return whether a rebuild has read all that a planned read was to bring: everything committed before its planning.

    A rebuild with a snapshot from before the planning has not, even if its tables were exchanged after it.
    """
    return (
        _continues(read)
        and _is_rebuilt(batch, read.tabela, built)
        and batch.planned_at is not None
        and batch.planned_at <= instant(built)
    )


def moved_by(engine: Engine, batch: Batch) -> list[Moved]:
    """Return what the reads of a batch have moved, over all tries of its task: one for each table with rows."""
    with engine.warehouse.client() as client:
        found = Ledger(engine.warehouse, client).ask("moved", plan=batch.plan).moved
    moved: dict[str, Moved] = {}
    for one in (found[key] for key in {identity_of(read) for read in batch.reads} & found.keys()):
        moved[one.tabela] = moved[one.tabela].joined(one) if one.tabela in moved else one
    return sorted(moved.values())


def log_moved(moved: Iterable[Mapping[str, int]]) -> None:
    """Log the rows that the batches of a run have moved, by table. `moved` is what `move_batch` returned for each."""
    rows: Counter[str] = Counter()
    for batch in moved:
        rows.update(batch)
    log.info(
        "rows moved: %s", ", ".join(f"{name} {count:,}" for name, count in sorted(rows.items())) or "none"
    )


class Checked(NamedTuple):
    """How many reads a run had planned, and what was in the warehouse when they were done."""

    reads: int
    contents: contract.Contents


def check_run(engine: Engine, planned: Iterable[Batch]) -> Checked:
    """Raise for anything planned without its ledger row.

    RefusedError names the tables that were set aside, each with its reason. VerificationError names a read that is missing
    without a reason. Also merges partitions with too many parts.
    """
    count = 0
    refused: dict[str, str] = {}
    planned = list(planned)
    anywhere = set[str]().union(*(batch.tables for batch in planned))
    contents = contract.Contents()
    answers: dict[UUID, Answers] = {}
    with engine.warehouse.client() as client:
        ledger = Ledger(engine.warehouse, client)
        for batch in planned:
            if batch.plan not in answers:
                answers[batch.plan] = ledger.ask("done", "refused", "warehouse", plan=batch.plan)
                contents = contract.from_rows(engine.warehouse, answers[batch.plan].rows["warehouse"])
            builds = contract.builds(contents)
            # Tables that it builds anew are done once they were exchanged.
            done = replace(answers[batch.plan], built=builds if batch.rebuilds else {}).done
            aside = answers[batch.plan].refused
            missing = [read for read in batch.reads if identity_of(read) not in done]
            if not batch.rebuilds:
                missing = [
                    read for read in missing if not _is_overtaken(read, batch, builds.get(read.tabela, 0))
                ]
            # A later try may have moved what an earlier one had set aside.
            unmoved = {read.tabela for read in missing} | (aside.keys() - anywhere)
            refused |= {name: reason for name, reason in aside.items() if name in unmoved}
            if nameless := [read for read in missing if read.tabela not in aside]:
                raise VerificationError(
                    f"{len(nameless)} planned reads have no ledger row, the first {nameless[0]}"
                )
            count += len(batch.reads)
        merge(engine.warehouse, client, anywhere & contents.storage.keys())
    refresh_views(engine, anywhere - refused.keys(), contents)
    if refused:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(refused.items()))
        raise RefusedError(f"{len(refused)} of the tables were set aside, all others were moved. {reasons}")
    return Checked(count, contents)


def _report_lag(
    mirror: str, state: LedgerState, oldest: Mapping[str, datetime], specs: Iterable[TableSpec], now: datetime
) -> None:
    scans = {one.tabela: one.taken_at for one in state.scans}
    for spec in specs:
        if spec.way == "window":
            until = covered_until(state.coverage, spec.name, oldest.get(spec.name), now)
        else:
            until = scans.get(spec.name)
        if until is not None:
            telemetry.covered(mirror, spec.name, until, now)
