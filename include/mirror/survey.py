"""Shows how a declaration would be mirrored. It reads only PostgreSQL's catalog, writes nothing and needs no warehouse.

A run stops at the first problem of a table. A survey goes on and collects all problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg

from include.conventions.errors import TaskError
from include.mirror import catalog, declaration, names, spec, types
from include.mirror.catalog import Server
from include.mirror.declaration import Mirror, Table
from include.mirror.deletes import COMPARED, DeleteMethod, delete_method
from include.mirror.keys import find_key
from include.mirror.phrases import did_you_mean
from include.mirror.phrases import label as label_of
from include.mirror.relation import KeyRange, Relation
from include.mirror.spec import Column, TableSpec
from include.mirror.types import registry
from include.mirror.types.target import parse
from include.mirror.ways import find_way

REFUSED, WARNING, NOTE = "refused", "warning", "note"
"""Levels of findings: a run would end in an error; it would work with weaker guarantees; good to know."""

OLDEST_SERVER = 14

ROWS_A_SECOND = 400_000
BYTES_A_SECOND = 40_000_000
"""The speed of a first load; the slower one counts. Measured: 2M rows of ten columns in 4.6 s, on two cores."""

SCANNED_A_SECOND = 10_000_000
"""How many rows a scan looks at per second."""


@dataclass(frozen=True)
class Finding:
    """One finding. `table` is None for findings about the server or the whole declaration."""

    level: str
    text: str
    table: str | None = None


@dataclass
class Surveyed:
    """One table, as far as it could be resolved. `spec` is None if it would be refused.

    `first_load` is the estimated time to read the whole table, `each_run` the time to find its changes. They are None if
    the rows were never counted; `each_run` also if the time depends on the number of changes.
    """

    name: str
    label: str
    relation: Relation
    key: tuple[str, ...] = ()
    way: str = ""
    reason: str = ""
    columns: list[Column] = field(default_factory=list)
    first_load: timedelta | None = None
    each_run: timedelta | None = None
    spec: TableSpec | None = None

    @property
    def deletes(self) -> DeleteMethod | None:
        """How deleted rows would be found, with the default of `compare_keys`; None if the table would be refused."""
        return None if self.spec is None else delete_method(self.spec, 0, COMPARED)


@dataclass
class Survey:
    """The result of a survey. Tables are in the order of the declaration."""

    server: Server
    tables: list[Surveyed] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        """Whether a run would end in an error."""
        return any(finding.level == REFUSED for finding in self.findings)


def survey(connection: psycopg.Connection[Any], mirror: Mirror) -> Survey:
    """Return how `mirror` would mirror the source at `connection`."""
    server = catalog.server(connection)
    found = Survey(server)
    found.findings += [Finding(REFUSED, problem) for problem in declaration.problems(mirror)]
    if server.version < OLDEST_SERVER:
        found.findings.append(
            Finding(REFUSED, f"the server is PostgreSQL {server.version}; {OLDEST_SERVER} or newer is needed")
        )
        return found
    wanted = [mirror.qualified(table) for table in mirror.declared]
    schema = mirror.schema
    relations = catalog.read(connection, wanted, schema.name if schema else None)
    known = catalog.relation_names(connection)
    found.findings += _missing(mirror, relations, known)
    tables = _tables(mirror, relations)
    found.findings += _collisions(mirror, tables)
    keys = [(relation, spec.integer_key(table, relation)) for table, relation, _ in tables]
    ranges = _key_ranges(connection, [(relation, key) for relation, key in keys if key is not None], found)
    for table, relation, name in tables:
        key_range = ranges.get((relation.schema, relation.name))
        found.tables.append(_surveyed(table, relation, name, key_range, found))
    found.findings += _of_server(found)
    found.findings += _not_named(mirror, known)
    return found


def _tables(
    mirror: Mirror, relations: Mapping[tuple[str, str], Relation]
) -> list[tuple[Table, Relation, str]]:
    """Return the mirrored tables with their names in the warehouse: named tables first, then the rest of the schema."""
    chosen = []
    named = set()
    for table in mirror.declared:
        place = mirror.qualified(table)
        named.add(place)
        if place in relations:
            chosen.append((table, relations[place], mirror.name_in_warehouse(*place, table.to)))
    left_out = _left_out(mirror)
    for place, relation in relations.items():
        if place not in named and place not in left_out:
            name = mirror.name_in_warehouse(*place)
            chosen.append((Table(catalog.declared_name(*place)), relation, name))
    return chosen


def _left_out(mirror: Mirror) -> set[tuple[str, str]]:
    schema = mirror.schema
    return {(schema.name, name) for name in schema.leave_out} if schema else set()


def _collisions(mirror: Mirror, tables: Sequence[tuple[Table, Relation, str]]) -> list[Finding]:
    """Return findings for tables whose names in the warehouse would be the same, or too long."""
    findings: list[Finding] = []
    seen: dict[str, str] = {}
    for _, relation, name in tables:
        label = label_of(relation)
        if name in seen:
            text = f"{seen[name]} and {label} would both be called {name} in the warehouse"
            findings.append(Finding(REFUSED, f'{text}; give one another name: Table(…, to="…")', label))
        if not mirror.fits(name):
            text = f"{label} would be called {name} in the warehouse, which is too long for ClickHouse"
            findings.append(Finding(REFUSED, f'{text}; give it another name: Table(…, to="…")', label))
        seen.setdefault(name, label)
    return findings


def _missing(
    mirror: Mirror, relations: Mapping[tuple[str, str], Relation], known: Sequence[tuple[str, str, str]]
) -> list[Finding]:
    """Return findings for named tables and schemas that do not exist."""
    findings = []
    schemas = {schema for schema, _, _ in known}
    if (whole := mirror.schema) is not None and not any(schema == whole.name for schema, _ in relations):
        hint = did_you_mean(whole.name, schemas) if whole.name not in schemas else ""
        findings.append(Finding(REFUSED, f"schema {whole.name} has no tables, or does not exist{hint}"))
    places = [(mirror.qualified(table), "there is no table") for table in mirror.declared]
    places += [(place, "leave_out names what does not exist:") for place in sorted(_left_out(mirror))]
    existing = {(schema, name) for schema, name, _ in known} | set(relations)
    for place, what in places:
        if place not in existing:
            label = ".".join(place)
            close = did_you_mean(label, [f"{schema}.{name}" for schema, name, _ in known], all_names=False)
            findings.append(Finding(REFUSED, f"{what} {label}{close}", label))
    return findings


def _key_ranges(
    connection: psycopg.Connection[Any], keys: Sequence[tuple[Relation, str]], found: Survey
) -> dict[tuple[str, str], KeyRange]:
    try:
        return catalog.key_ranges(connection, keys)
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable) as error:
        reason = str(error).splitlines()[0]
        found.findings.append(
            Finding(NOTE, f"the keys' ranges, from which partitions follow, could not be read: {reason}")
        )
        return {}


def _surveyed(
    table: Table, relation: Relation, name: str, key_range: KeyRange | None, found: Survey
) -> Surveyed:
    label = label_of(relation)
    surveyed = Surveyed(name, label, relation)
    refused: list[str] = []

    def attempt(check: Callable[[], Any]) -> Any:
        try:
            return check()
        except TaskError as error:
            refused.append(str(error))
            return None

    attempt(lambda: spec.check_readable(relation, found.server.role))
    attempt(lambda: spec.check_rows(table, relation))
    columns = attempt(lambda: spec.mirrored_columns(table, relation))
    way = None
    if columns is not None:  # otherwise the next two checks would report the same wrong name again
        surveyed.key = attempt(lambda: find_key(table, relation)) or ()
        way = attempt(lambda: find_way(table, relation))
        for column in columns:
            carry = partial(spec.carry, table, relation, column, in_key=column.name in surveyed.key)
            if (carried := attempt(carry)) is not None:
                surveyed.columns.append(carried)
    if way is not None:
        surveyed.way, surveyed.reason = way.way, way.reason
    if not refused:
        surveyed.spec = attempt(
            lambda: spec.resolve(table, relation, name, key_range, role=found.server.role)
        )
    found.findings += [Finding(REFUSED, text, label) for text in refused]
    _estimate(surveyed, found.server.block)
    found.findings += _remarks(surveyed, way.index if way else None)
    return surveyed


def _estimate(surveyed: Surveyed, block: int) -> None:
    relation = surveyed.relation
    if relation.rows is None:
        return
    seconds = max(relation.rows / ROWS_A_SECOND, relation.pages * block / BYTES_A_SECOND)
    surveyed.first_load = timedelta(seconds=seconds)
    if surveyed.way == "scan":
        surveyed.each_run = timedelta(seconds=relation.rows / SCANNED_A_SECOND)
    elif surveyed.way == "copy":
        surveyed.each_run = surveyed.first_load


def _remarks(surveyed: Surveyed, index: str | None) -> list[Finding]:
    """Return warnings and notes about a table: findings for which it is not refused."""
    relation, label, remarks = surveyed.relation, surveyed.label, []
    if index is not None and surveyed.way == "window":
        remarks.append(Finding(WARNING, f"{label}: each window reads the whole table; run {index}", label))
    if relation.fed and surveyed.way == "window":
        remarks.append(
            Finding(
                WARNING,
                f"{label} is fed by a subscription, so its times are another server's, and rows that commit late are "
                'found only by reconciliation; way="scan" finds them',
                label,
            )
        )
    if surveyed.deletes is not None and surveyed.deletes.by == "reconciliation":
        remarks.append(
            Finding(
                NOTE,
                f"{label}: deleted rows stay until the next reconciliation, because {surveyed.deletes.reason}",
                label,
            )
        )
    if surveyed.spec is not None and surveyed.spec.log_unused:
        remarks.append(
            Finding(
                WARNING, f"{label}: its log of deleted keys is not used: {surveyed.spec.log_unused}", label
            )
        )
    if unknown := [column for column in surveyed.columns if not _is_known(column)]:
        listed = ", ".join(f"{column.name} ({column.source.declared})" for column in unknown)
        remarks.append(
            Finding(
                NOTE,
                f"{label}: no entry for the type of {listed}; it travels as PostgreSQL's own text",
                label,
            )
        )
    if surveyed.spec is not None and (left_out := surveyed.spec.not_mirrored):
        remarks.append(Finding(NOTE, f"{label}: not mirrored: {', '.join(left_out)}", label))
    return remarks


def _is_known(column: Column) -> bool:
    return bool(types.is_known(column.source))


def _of_server(found: Survey) -> list[Finding]:
    """Return findings about the server and the role, and about what only reading the rows will show."""
    server, findings = found.server, []
    windows = [table.label for table in found.tables if table.way == "window"]
    if server.standby:
        findings.append(
            Finding(
                REFUSED,
                "the server is a standby, which does not show the primary's open transactions; read the primary",
            )
        )
    elif windows and not server.sees_sessions:
        findings.append(
            Finding(
                REFUSED,
                f"{server.role} can't see other sessions' transactions, which windows need ({', '.join(windows)}); run "
                f"GRANT pg_read_all_stats TO {names.pg(server.role)}",
            )
        )
    if uncounted := [
        names.pg(table.relation.schema, table.relation.name)
        for table in found.tables
        if table.relation.rows is None and table.relation.kind not in "vf"
    ]:
        findings.append(
            Finding(
                NOTE,
                f"no time is estimated where rows were never counted; run ANALYZE {', '.join(uncounted)}",
            )
        )
    rare: dict[str, list[str]] = {}
    for table in found.tables:
        for column in table.columns:
            form = registry.into(column.source, parse(column.warehouse_type))
            if form is not None and form.refuses:
                rare.setdefault(form.refuses, []).append(f"{table.label}.{column.name}")
    for values, columns in sorted(rare.items()):
        findings.append(
            Finding(
                NOTE,
                f"only reading the rows shows whether there are values that are refused ({values}); a run names the "
                f"first one and loads nothing of the table; a column that is declared as a String holds all: "
                f"{_first_five(columns)}",
            )
        )
    return findings


def _not_named(mirror: Mirror, known: Sequence[tuple[str, str, str]]) -> list[Finding]:
    """Return a note with the schema's views and foreign tables, which are mirrored only if they are named."""
    if (schema := mirror.schema) is None:
        return []
    named = {mirror.qualified(table) for table in mirror.declared} | _left_out(mirror)
    others = [
        name
        for place_schema, name, kind in known
        if kind in "vmf" and place_schema == schema.name and (place_schema, name) not in named
    ]
    if not others:
        return []
    return [
        Finding(
            NOTE, f"views and foreign tables are mirrored only when they are named: {_first_five(others)}"
        )
    ]


def _first_five(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
