"""A declaration with its source and warehouse. Every step of a run gets this object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

from include.conventions.errors import TaskError
from include.mirror import catalog, contract
from include.mirror.declaration import Mirror, Table, general_problems, table_problems
from include.mirror.deletes import COMPARED
from include.mirror.errors import RebuiltError, SchemaError
from include.mirror.names import ch
from include.mirror.plan import Work, instant
from include.mirror.relation import KeyRange, Relation
from include.mirror.source.partitions import attached_with_rows, written_anew
from include.mirror.source.session import Connection, Source
from include.mirror.spec import Column, TableSpec, did_you_mean, integer_key, resolve
from include.mirror.warehouse.client import Warehouse
from include.mirror.warehouse.ddl import bookkeeping, partition
from include.mirror.warehouse.table import WarehouseTable

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Observe = Callable[[str, Work], None]
"""Called after each step with its name: noted, snapshot, extracted, staged, verified, published, confirmed, recorded. A
rebuild adds created, bridged, exchanged, shown. Reconciliation adds compared, looked, judged, proved, reported."""


def _silent(_step: str, _work: Work) -> None:
    return None


@dataclass(frozen=True)
class Options:
    """The options of a run.

    - `grace`: how long past a window's end the source's clock must be before it is read. A session's transaction shows up
      in `pg_stat_activity` a moment after it has taken its start time.
    - `max_rows`: a window with more rows is split.
    - `tasks`: how many tasks move at once at most. `timeout`: the time limit of one task.
    - `sweep`: how often a table with windows is searched for rows that no window finds; None for never.
    - `compare_keys`: each run compares all keys of tables with up to this many rows, to find deleted rows; 0 for no table.
    """

    grace: timedelta = timedelta(seconds=2)
    max_rows: int = 1_000_000
    tasks: int = 4
    timeout: timedelta = timedelta(hours=1)
    sweep: timedelta | None = timedelta(hours=1)
    compare_keys: int = COMPARED


@dataclass
class Resolved:
    """The tables that can be mirrored as declared, and the reasons why others can't, by their names in the warehouse."""

    specs: dict[str, TableSpec] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Found:
    """One table: its declaration, its catalog entry, and its name in the warehouse."""

    table: Table
    relation: Relation
    name: str


@dataclass(frozen=True)
class Engine:
    """A declaration with its source and warehouse. `behind` is taken from the batch that is moved: see `Batch`."""

    declaration: Mirror
    source: Source
    warehouse: Warehouse
    options: Options = Options()
    observe: Observe = _silent
    behind: datetime | None = None

    @contextmanager
    def clients(self) -> Iterator[tuple[Connection, Client]]:
        """Connect to source and warehouse. Raise SourceError or WarehouseError naming the one that refuses."""
        with self.source.connect() as connection, self.warehouse.client() as client:
            yield connection, client

    @contextmanager
    def with_shared_client(self) -> Iterator[Self]:
        """Yield this engine with one client of the warehouse, which all steps in the block share."""
        with self.warehouse.shared() as warehouse:
            yield replace(self, warehouse=warehouse)

    def specs(
        self, connection: Connection, tables: Collection[str] | None = None, *, new: bool = False
    ) -> Resolved:
        """Return the mirrored tables, or only `tables`, by their names in the warehouse.

        With `new`, tables are about to be created, so the ranges of integer keys are read too. A table that can't be
        mirrored as declared is in `refused`. SchemaError is raised if the declaration as a whole is wrong.
        """
        if wrong := general_problems(self.declaration):
            raise SchemaError(f"mirror {self.declaration.name}: {'; '.join(wrong)}")
        resolved = Resolved()
        for name, texts in table_problems(self.declaration).items():
            resolved.refused[name] = "; ".join(texts)
        found = [one for one in self._relations(connection, resolved) if tables is None or one.name in tables]
        ranges: Mapping[tuple[str, str], KeyRange] = {}
        if new:
            keys = [(one.relation, key) for one in found if (key := integer_key(one.table, one.relation))]
            ranges = catalog.key_ranges(connection, keys)
        for one in found:
            place = (one.relation.schema, one.relation.name)
            try:
                resolved.specs[one.name] = resolve(
                    one.table, one.relation, one.name, ranges.get(place), role=connection.info.user
                )
            except TaskError as error:
                resolved.refused[one.name] = str(error)
        return resolved

    def _relations(self, connection: Connection, resolved: Resolved) -> list[_Found]:
        """Return the mirrored tables that exist. Missing tables and names that are not unique are added to `refused`."""
        declaration, schema = self.declaration, self.declaration.schema
        declared = {declaration.qualified(table): table for table in declaration.declared}
        relations = catalog.read(connection, list(declared), schema.name if schema else None)
        left_out = set(schema.leave_out) if schema else set()
        for schema_name, name in declared:
            if (schema_name, name) not in relations:
                known = [other for in_schema, other in relations if in_schema == schema_name]
                resolved.refused[
                    declaration.name_in_warehouse(schema_name, name, declared[schema_name, name].to)
                ] = (
                    f"source table {schema_name}.{name} does not exist, or the role has no USAGE on its schema"
                    f"{did_you_mean(name, known) if schema else ''}"
                )
        for name in left_out - {name for in_schema, name in relations if schema and in_schema == schema.name}:
            resolved.refused[name] = (
                f"schema {schema.name if schema else ''} has no table {name}, which leave_out names"
            )
        found = []
        for (schema_name, name), relation in relations.items():
            table = declared.get((schema_name, name))
            if table is None and name in left_out:
                continue
            to = declaration.name_in_warehouse(schema_name, name, table.to if table else None)
            found.append(_Found(table or Table(f"{schema_name}.{name}"), relation, to))
        order = {name: number for number, name in enumerate(declaration.names)}
        found.sort(key=lambda one: (order.get(one.name, len(order)), one.name))
        places: dict[str, list[str]] = {}
        for one in found:
            places.setdefault(one.name, []).append(f"{one.relation.schema}.{one.relation.name}")
        for name, labels in places.items():
            if not declaration.fits(name):
                resolved.refused[name] = (
                    f"{labels[0]} would be called {name} in the warehouse, which is too long for ClickHouse; give it "
                    'another name: Table(…, to="…")'
                )
            if len(labels) > 1:
                resolved.refused[name] = (
                    f"{' and '.join(labels)} would both be called {name} in the warehouse; give one of them another "
                    'name: Table(…, to="…")'
                )
        return [one for one in found if one.name not in resolved.refused]

    def tables(
        self,
        connection: Connection,
        client: Client,
        names: Collection[str],
        contents: contract.Contents | None = None,
    ) -> tuple[dict[str, WarehouseTable], dict[str, str]]:
        """Return these tables as they stand on both sides, and why others can't be mirrored, both by name.

        `contents` are the warehouse's where they have been read just now.
        """
        contents = contents or contract.read(self.warehouse, client)
        resolved = self.specs(connection, names)
        refused = self._missing(names, resolved)
        tables = {}
        for name, spec in resolved.specs.items():
            try:
                agreed = contract.agree(self.warehouse, spec, contents.storage.get(name))
                table = contract.bind(self.warehouse, client, agreed)
                if why := rows_behind(connection, agreed, self.behind, self.source.zone):
                    refused[name] = f"{why}, since the run was planned: the next run reads it from the start"
                else:
                    tables[name] = table
            except SchemaError as error:
                refused[name] = str(error)
        return tables, refused

    def _missing(self, names: Collection[str], resolved: Resolved) -> dict[str, str]:
        return {
            name: resolved.refused.get(name)
            or f"{name} was planned, and the declaration of {self.declaration.name} has no such table any more: it "
            "changed while the run was under way, and the next run uses the new one"
            for name in names
            if name not in resolved.specs
        }

    def new_tables(
        self, connection: Connection, client: Client, names: Collection[str]
    ) -> tuple[dict[str, WarehouseTable], dict[str, str]]:
        """Return these tables as the mirror would create them today, and why others can't be mirrored, both by name."""
        resolved = self.specs(connection, names, new=True)
        tables = {
            name: WarehouseTable(
                self.warehouse,
                client,
                spec,
                bookkeeping(spec),
                partition(spec),
                ", ".join(map(ch, spec.order)),
            )
            for name, spec in resolved.specs.items()
        }
        return tables, self._missing(names, resolved)

    def changed(
        self, connection: Connection, client: Client, tables: Iterable[WarehouseTable], *, new: bool = False
    ) -> dict[str, str]:
        """Return which of `tables` have changed on either side since they were read, with messages.

        With `new`, they are tables that are about to be created, and only the source's side is compared. Raises
        RebuiltError if another run has built one of them anew in the meantime.
        """
        before = {table.spec.name: table for table in tables}
        now, refused = (self.new_tables if new else self.tables)(connection, client, before)
        for name, table in now.items():
            if table.built != before[name].built:
                raise RebuiltError(f"{table.spec.label} was built anew while this task waited for it")
            if not _same(before[name].spec, table.spec):
                refused[name] = _altered(table.spec)
        return refused

    def changed_types(self, specs: Iterable[TableSpec]) -> dict[str, str]:
        """Return which of these tables have columns whose types have changed, with messages.

        Neither a lock on a table nor a snapshot protects its types: values print as their types are at that moment.
        """
        before = {spec.name: spec for spec in specs if any(column.meaning.text for column in spec.columns)}
        if not before:
            return {}
        # A new session, because one that holds a snapshot sees the catalog of that time.
        with self.source.connect() as connection:
            now = self.specs(connection, before).specs
        return {
            name: _altered(spec)
            for name, spec in before.items()
            if name not in now or not all(map(_prints_alike, spec.columns, now[name].columns))
        }


def rows_behind(
    source: Connection, agreed: contract.Agreement, behind: datetime | None, zone: ZoneInfo
) -> str | None:
    """Return why a table has old rows that no window or scan would find, None if it has none.

    This looks at the rows themselves: the rows of a partition that was attached, or all rows if the table's files have
    changed. An ALTER TABLE may have rewritten all rows. VACUUM FULL changes the files too, but not the rows. After a
    TRUNCATE all rows are new: with `behind`, only rows with an earlier time count, because no window finds them.
    """
    if agreed.attached and (filled := attached_with_rows(source, agreed.attached)):
        return f"{', '.join(filled)} was attached as a partition, with rows in it"
    if agreed.moved is not None and written_anew(source, agreed.spec, agreed.moved, behind, zone):
        return f"all rows of {agreed.spec.label} were written anew, as ALTER TABLE … USING does, with their old times"
    return None


def _altered(spec: TableSpec) -> str:
    return f"source table {spec.label} was altered while the run was under way: the next run reads it as it is now"


def _same(before: TableSpec, now: TableSpec) -> bool:
    return _shape(before) == _shape(now) and all(map(_prints_alike, before.columns, now.columns))


def _prints_alike(before: Column, now: Column) -> bool:
    return now.meaning.continues(before.meaning.text)


def built_since(table: WarehouseTable) -> str:
    """Return the message for a read that was planned for the table before its rebuild and is not moved into the new one."""
    return (
        f"{table.spec.label} was built anew in the warehouse since the run was planned, from all that the source had at "
        f"{instant(table.built):%FT%TZ}: the next run goes on from there"
    )


def _shape(spec: TableSpec) -> object:
    """Return the parts of a spec that must not change during a run."""
    columns = [
        (column.name, column.number, column.source.declared, column.warehouse_type) for column in spec.columns
    ]
    return spec.oid, spec.kind, spec.key, spec.way, spec.change_column, spec.precision, columns
