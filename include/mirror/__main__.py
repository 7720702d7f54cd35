"""The command line `python -m include.mirror`: checks a source without Airflow and without a warehouse."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from include.mirror import names
from include.mirror.declaration import Mirror, Schema, Table, split_name

if TYPE_CHECKING:
    from include.mirror.survey import Finding, Survey, Surveyed

REFUSED, CANNOT = 1, 2
"""Exit codes: a run would end in an error; a wrong command line or a server that can't be reached."""

SETTINGS = "-c row_security=off -c lock_timeout=5s -c statement_timeout=60s -c jit=off"
"""PostgreSQL settings of a survey: it waits for no lock for long, and reads the same rows as a run."""

SHORT_TYPES = (
    (r"^timestamp(\(\d\))? without time zone", r"timestamp\1"),
    (r"^timestamp(\(\d\))? with time zone", r"timestamptz\1"),
    (r"^time(\(\d\))? without time zone", r"time\1"),
    (r"^time(\(\d\))? with time zone", r"timetz\1"),
    (r"^character varying", "varchar"),
    (r"^character\b", "char"),
    (r"^bit varying", "varbit"),
)

STYLES = {"refused": "bold red", "warning": "yellow", "note": "dim"}


@click.group()
def main() -> None:
    """Mirror tables of PostgreSQL in ClickHouse."""


@main.command()
@click.option(
    "--source",
    envvar="SOURCE_DSN",
    show_envvar=True,
    metavar="DSN",
    help="The PostgreSQL to look at: postgresql://… or host=… dbname=…; put a password into $SOURCE_DSN, "
    "$PGPASSWORD or ~/.pgpass instead.",
)
@click.option("--schema", help="All tables of this schema; default without --table: public.")
@click.option(
    "--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="One table or view; repeatable."
)
@click.option("--ddl", is_flag=True, help="Print the warehouse's CREATE statements; findings go to stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")
@click.option(
    "--storage", default="mirror_raw", help="The ClickHouse database of the rows' versions, for --ddl."
)
@click.option("--views", default="mirror", help="The ClickHouse database of the current rows, for --ddl.")
@click.argument("extra", nargs=-1, metavar="")
def check(
    source: str | None,
    schema: str | None,
    tables: tuple[str, ...],
    ddl: bool,
    as_json: bool,
    storage: str,
    views: str,
    extra: tuple[str, ...],
) -> None:
    """Show how tables would be mirrored, and which would be refused and why. Nothing is written.

    Exits with 1 if a run would refuse a table, with 2 if the command line is wrong or the server can't be reached.
    """
    if extra:
        # The message doesn't repeat the arguments: they may hold a password.
        raise click.UsageError(
            "Arguments without an option. Give the connection as --source or in $SOURCE_DSN."
        )
    if not source:
        raise click.UsageError("No source. Give a connection string as --source or in $SOURCE_DSN.")
    mirror = _mirror(schema, tables, storage, views)
    found = _survey(source, mirror)
    if as_json:
        click.echo(json.dumps(_document(found, mirror, ddl), ensure_ascii=False, indent=2))
    elif ddl:
        click.echo(_ddl(found, mirror), nl=False)
        _print_findings(_console(stderr=True), found)
    else:
        console = _console()
        _print_tables(console, found)
        _print_findings(console, found)
    if found.refused:
        sys.exit(REFUSED)


@main.command("delete-log")
@click.option("--source", envvar="SOURCE_DSN", metavar="DSN", help="Connection string of PostgreSQL.")
@click.option(
    "--schema", metavar="SCHEMA", help="All tables of this schema; default without --table: public."
)
@click.option("--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="One table; repeatable.")
@click.option(
    "--role", metavar="NAME", help="The role that the mirror connects as; it gets the rights on the logs."
)
def delete_log(source: str | None, schema: str | None, tables: tuple[str, ...], role: str | None) -> None:
    """Print the statements that create logs of deleted keys, for the source's owner to run. Nothing is run.

    Exits with 1 if a table can have no log, with 2 if the command line is wrong or the server can't be reached.
    """
    from include.mirror.delete_log import INTRODUCTION, LOGS, statements

    if not source:
        raise click.UsageError("No source. Give a connection string as --source or in $SOURCE_DSN.")
    mirror = _mirror(schema, tables, "mirror_raw", "mirror")
    try:
        with _connect(source) as connection:
            found, refused = _logs(connection, mirror, role, statements)
    except psycopg.Error as error:
        _end(f"PostgreSQL gave up: {_one_line(error)}")
    lines = [INTRODUCTION, f"CREATE SCHEMA IF NOT EXISTS {LOGS};"]
    if role is not None:
        lines.append(f"GRANT USAGE ON SCHEMA {LOGS} TO {names.pg(role)};")
    for label, made in found.items():
        lines += ["", f"-- {_plain(label)}", *(f"{statement};" for statement in made)]
    click.echo("\n".join(lines))
    for reason in refused:
        click.echo(f"refused: {reason}", err=True)
    if refused:
        sys.exit(REFUSED)


def _logs(
    connection: psycopg.Connection[Any],
    mirror: Mirror,
    role: str | None,
    statements: Callable[..., list[str]],
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the statements for each table, and the reasons why other tables can have no log."""
    from include.conventions.errors import TaskError
    from include.mirror import catalog
    from include.mirror.keys import find_key

    declared = {mirror.qualified(table): table for table in mirror.declared}
    relations = catalog.read(connection, list(declared), mirror.schema.name if mirror.schema else None)
    found: dict[str, list[str]] = {}
    refused = [
        f"{schema}.{name} does not exist" for schema, name in declared if (schema, name) not in relations
    ]
    for (schema, name), relation in relations.items():
        label = f"{schema}.{name}"
        try:
            key = find_key(declared.get((schema, name), Table(label)), relation)
        except TaskError as error:
            refused.append(str(error))
            continue
        domains = connection.execute(
            b"SELECT attname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid"
            b" WHERE attrelid = $1 AND attname = ANY ($2::text[]) AND typtype = 'd'",
            (relation.oid, list(key)),
        ).fetchall()
        if relation.kind not in "rp" or relation.children or relation.is_partition or domains:
            what = (
                f"{domains[0][0]} of its key is of a domain, which may refuse the NULL of a TRUNCATE"
                if domains
                else "only ordinary and partitioned tables without inheriting tables can have one"
            )
            refused.append(f"{label} gets no log: {what}")
            continue
        partitions = connection.execute(
            b"SELECT n.nspname::text, c.relname::text FROM pg_partition_tree($1::oid) AS tree"
            b" JOIN pg_class c ON c.oid = tree.relid JOIN pg_namespace n ON n.oid = c.relnamespace"
            b" WHERE tree.level > 0 ORDER BY 1, 2",
            (relation.oid,),
        ).fetchall()
        found[label] = statements(relation, key, partitions, role)
    return found, refused


def _mirror(schema: str | None, tables: tuple[str, ...], storage: str, views: str) -> Mirror:
    for table in tables:
        if split_name(table) is None:
            raise click.UsageError(f"--table {table!r} is not a table's name. Write table or schema.table.")
    named = [Table(table) for table in tables]
    if schema is None and named:
        return Mirror("check", "source", "warehouse", storage, views, named)
    return Mirror("check", "source", "warehouse", storage, views, Schema(schema or "public", tables=named))


def _survey(source: str, mirror: Mirror) -> Survey:
    from include.mirror.survey import survey

    try:
        with _connect(source) as connection:
            return survey(connection, mirror)
    except psycopg.Error as error:
        _end(f"PostgreSQL gave up: {_one_line(error)}")


def _connect(source: str) -> psycopg.Connection[Any]:
    try:
        parts = conninfo_to_dict(source)
    except psycopg.Error:
        parts = {"port": "?"}
    ports = str(parts.get("port") or "5432").split(",")
    if not all(port.isdigit() for port in ports) or "@" in str(parts.get("host", "")):
        # libpq may have taken a part of the password for something else, so the message repeats nothing of the source.
        _end(
            "the source is no connection string of libpq: write postgresql://user@host:port/database or "
            "host=… port=… dbname=… user=…, with special characters of a URI's password percent-encoded"
        )
    options = f"{parts.get('options') or ''} {SETTINGS}".strip()
    password = str(parts.get("password") or "")
    try:
        return psycopg.connect(
            make_conninfo(source, connect_timeout=10, client_encoding="UTF8", options=options),
            autocommit=True,
            cursor_factory=psycopg.RawCursor,
        )
    except psycopg.Error as error:
        reason = _one_line(error)
        _end(f"PostgreSQL can't be reached: {reason.replace(password, '***') if password else reason}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _end(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(CANNOT)


# Output


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    # A file has no width, so take one that fits the tables.
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=140)


def _plain(text: str) -> Text:
    """Return a text without control characters, because a table's name may contain terminal sequences."""
    return Text("".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text))


def _print_tables(console: Console, found: Survey) -> None:
    if not found.tables:
        return
    grid = Grid(show_lines=True)
    grid.add_column("table", ratio=4, overflow="fold")
    grid.add_column("key", ratio=3, overflow="fold")
    grid.add_column("way and why", ratio=6)
    grid.add_column("types", ratio=8, overflow="fold")
    for title in ("rows", "first load", "each run"):
        grid.add_column(title, justify="right")
    for table in found.tables:
        refused = _is_refused(found, table)
        label = _plain(table.label + (f"\n{_kind(table)}" if table.relation.kind != "r" else ""))
        label.stylize("red" if refused else "", 0, len(table.label))
        grid.add_row(
            label,
            _plain(", ".join(table.key) or "-"),
            _plain(_way(table) if table.way else "-"),
            _plain(_types(table)),
            _plain("?" if table.relation.rows is None else f"{table.relation.rows:,}"),
            _plain(_duration(table.first_load)),
            _plain("what changed" if table.way == "window" else _duration(table.each_run)),
        )
    console.print(grid)


def _way(table: Surveyed) -> str:
    """Return how inserts and updates are found, with the reason, and how deleted rows are found."""
    text = f"{table.way}: {table.reason}"
    return f"{text}\ndeletes by {table.deletes.by}" if table.deletes else text


def _kind(table: Surveyed) -> str:
    from include.mirror.phrases import KINDS

    return KINDS[table.relation.kind].split(" ", 1)[1]


def _types(table: Surveyed) -> str:
    """Return a line for each pair of source and warehouse type, with the number of columns, in the columns' order."""
    counts = Counter((_short(column.source.declared), column.warehouse_type) for column in table.columns)
    return "\n".join(
        f"{f'{count}x ' if count > 1 else ''}{source} → {warehouse}"
        for (source, warehouse), count in counts.items()
    )


def _short(declared: str) -> str:
    """Return a type with PostgreSQL's long names replaced by the common short ones."""
    for pattern, short in SHORT_TYPES:
        declared = re.sub(pattern, short, declared)
    return declared


def _duration(duration: timedelta | None) -> str:
    if duration is None:
        return "?"
    seconds = duration.total_seconds()
    if seconds < 1:
        return "< 1 s"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _is_refused(found: Survey, table: Surveyed) -> bool:
    return any(finding.table == table.label and finding.level == "refused" for finding in found.findings)


def _print_findings(console: Console, found: Survey) -> None:
    for level in STYLES:
        for finding in found.findings:
            if finding.level == level:
                line = Text(f"{level}: ", style=STYLES[level])
                # soft_wrap: people copy statements from here, so they must not be broken into lines.
                console.print(line.append_text(_plain(finding.text)), soft_wrap=True)
    console.print(_plain(_summary(found)), soft_wrap=True)


def _summary(found: Survey) -> str:
    from include.mirror.survey import BYTES_A_SECOND, ROWS_A_SECOND, SCANNED_A_SECOND

    refusals = [finding for finding in found.findings if finding.level == "refused"]
    refused = {finding.table for finding in refusals if finding.table is not None}
    general = [finding for finding in refusals if finding.table is None]
    ways = Counter(table.way for table in found.tables if table.spec is not None)
    parts = [f"{_count(sum(ways.values()), 'table')} can be mirrored"]
    if ways:
        parts[0] += f" ({', '.join(f'{count} by {way}' for way, count in sorted(ways.items()))})"
    parts.append(f"{len(refused)} refused")
    if general:
        parts.append(f"{_count(len(general), 'reason')} against all of them")
    loads = [table.first_load for table in found.tables if table.first_load is not None]
    if loads:
        rows = sum(table.relation.rows or 0 for table in found.tables)
        parts.append(
            f"about {rows:,} rows, first load {_duration(sum(loads, timedelta()))} at {ROWS_A_SECOND:,} rows or "
            f"{BYTES_A_SECOND // 10**6} MB a second, whichever is slower, scans at {SCANNED_A_SECOND:,} rows a second"
        )
    return "; ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _statements(table: Surveyed, mirror: Mirror) -> list[str]:
    from include.mirror.warehouse.ddl import storage_ddl, view_ddl

    if table.spec is None:
        return []
    found = storage_ddl(table.spec, mirror.storage), view_ddl(table.spec, mirror.storage, mirror.views)
    return [statement.strip() for statement in found]


def _ddl(found: Survey, mirror: Mirror) -> str:
    from include.mirror.templates import render

    databases = [
        render("create_database", database=names.ch(database)).strip()
        for database in (mirror.storage, mirror.views)
    ]
    parts = [f"{statement};\n" for statement in databases]
    for table in found.tables:
        head = f"{table.label}: {f'{table.way}, {table.reason}' if table.spec else 'refused'}"
        parts.append(f"\n-- {_plain(head)}\n")
        parts += [f"{statement};\n" for statement in _statements(table, mirror)]
    return "".join(parts)


def _document(found: Survey, mirror: Mirror, ddl: bool) -> dict[str, Any]:
    return {
        "server": {
            "version": found.server.version,
            "role": found.server.role,
            "standby": found.server.standby,
            "sees_sessions": found.server.sees_sessions,
        },
        "tables": [
            {
                "table": table.label,
                "name": table.name,
                "kind": _kind(table),
                "refused": _is_refused(found, table),
                "key": list(table.key),
                "way": table.way or None,
                "reason": table.reason or None,
                "deletes_by": table.deletes.by if table.deletes else None,
                "columns": [
                    {
                        "name": column.name,
                        "source": column.source.declared,
                        "warehouse": column.warehouse_type,
                    }
                    for column in table.columns
                ],
                "partition_width": table.spec.partition_width if table.spec else None,
                "order_by": list(table.spec.order) if table.spec else None,
                "rows": table.relation.rows,
                "first_load_seconds": _seconds(table.first_load),
                "each_run_seconds": _seconds(table.each_run),
                **({"ddl": _statements(table, mirror)} if ddl else {}),
            }
            for table in found.tables
        ],
        "findings": [_finding(finding) for finding in found.findings],
        "summary": _summary(found),
        "refused": found.refused,
    }


def _finding(finding: Finding) -> dict[str, str | None]:
    return {"level": finding.level, "table": finding.table, "text": finding.text}


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else round(duration.total_seconds(), 1)


if __name__ == "__main__":
    main(prog_name="python -m include.mirror")
