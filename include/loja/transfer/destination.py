"""The warehouse: Redshift, or PostgreSQL in its place. Only two things differ, and so exist twice here:

| | Redshift | PostgreSQL |
|---|---|---|
| how a stage is filled | `COPY … FROM 's3://…'`, which Redshift reads in parallel | `COPY … FROM STDIN`, part by part |
| two loads at once | the second waits for the ledger's lock | the second waits for the tables' lock; readers don't wait |

Redshift's only lock blocks readers too. So a load locks the ledger alone, which nobody else reads for long. The lock is
necessary: under snapshot isolation, the default of new clusters, two loads that saw the same state would both commit.

Everything else is SQL that both understand, through DB-API with `%s`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from include.conventions import sql
from include.conventions.errors import ConfigurationError
from include.loja.errors import ComparisonError
from include.loja.transfer.bucket import Bucket, Export
from include.loja.transfer.table import Figures, Table, sums

ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,128}", re.ASCII)
KEY = re.compile(r"[\w./-]+", re.ASCII)
LEDGER = "cargas"

Copy = Callable[[Any, str, Table, Export, Bucket], None]


@dataclass(frozen=True)
class Destination:
    """Three functions: connect (DB-API, without autocommit), fill a stage, and lock out a second load."""

    connect: Callable[[], Any]
    copy: Copy
    lock: Callable[[Any, Sequence[str]], None]

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session; create missing tables. At its end, rolls back what is not committed."""
        connection = self.connect()
        try:
            session = Session(self, connection)
            session.run(sql.text("dw_loja", "create_schema"))
            connection.commit()
            yield session
        finally:
            connection.close()


@dataclass(frozen=True)
class Session:
    """One connection to the warehouse. Its stages are temporary tables, which disappear with the connection."""

    destination: Destination
    connection: Any

    def run(self, text: str) -> None:
        """Execute statements one after the other; they take no bound parameters."""
        cursor = self.connection.cursor()
        for statement in sql.statements(text):
            cursor.execute(statement)

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return a query's rows."""
        cursor = self.connection.cursor()
        cursor.execute(statement, values) if values else cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]

    def fill(self, table: Table, exports: Sequence[Export], bucket: Bucket) -> Figures:
        """Create the stage `estagio_<table>` and fill it; return its figures.

        Raises ComparisonError if they differ from the figures of the exports.
        """
        name = f"estagio_{table.name}"
        cursor = self.connection.cursor()
        cursor.execute(f"CREATE TEMP TABLE {name} (LIKE {table.name})")
        for export in exports:
            if export.parts:
                self.destination.copy(cursor, name, table, export, bucket)
        figures = self.figures(name, table)
        expected = sum((export.figures for export in exports), Figures())
        if figures != expected:
            raise ComparisonError(f"the stage of {table.name} holds {figures}; the export has {expected}")
        self.connection.commit()
        return figures

    def figures(
        self,
        relation: str,
        table: Table,
        low: int | None = None,
        high: int | None = None,
        values: Sequence[Any] = (),
    ) -> Figures:
        """Return the figures of a relation, or of its keys in [low, high) if given.

        `values` are bound to the `%s` in the text of `relation`.
        """
        bounds = [(f"{table.key} >= %s", low), (f"{table.key} < %s", high)]
        given = [(condition, value) for condition, value in bounds if value is not None]
        where = " AND ".join(condition for condition, _ in given) or "TRUE"
        [row] = self.read(
            f"SELECT {sums(table.key, table.money)} FROM {relation} WHERE {where}",  # noqa: S608 - names of Table
            [*values, *(value for _, value in given)],
        )
        return Figures.row(row)


def postgres(dsn: str) -> Destination:
    """Return PostgreSQL as the warehouse; `dsn` is a connection string of libpq."""

    def connect() -> Any:
        import psycopg

        connection = psycopg.connect(dsn)
        # As on Redshift: the statements of a comparison see one state, even if another load is published meanwhile.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return connection

    def lock(cursor: Any, tables: Sequence[str]) -> None:
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")

    return Destination(connect, _from_stdin, lock)


def redshift(connect: Callable[[], Any], role: str) -> Destination:
    """Return Redshift as the warehouse; `role` is the ARN of the role with which it reads S3.

    Raises ConfigurationError if `role` is not an ARN of a role: it becomes part of a statement.
    """
    if not ROLE.fullmatch(role):
        raise ConfigurationError(
            f"LOJA_PAPEL_COPY is {role!r}; for Redshift it must be like arn:aws:iam::123456789012:role/name"
        )

    def copy(cursor: Any, name: str, table: Table, export: Export, bucket: Bucket) -> None:
        key = f"{export.parts[0].key.rpartition('/')[0]}/manifesto-copy.json"
        bucket.put(key, manifest(export, bucket.name))
        cursor.execute(copy_statement(name, bucket.name, key, role))

    def lock(cursor: Any, tables: Sequence[str]) -> None:
        # LOCK takes no snapshot. As the first statement of the transaction, it lets the next one see the other load's rows.
        cursor.execute(f"LOCK TABLE {LEDGER}")

    return Destination(connect, copy, lock)


def manifest(export: Export, bucket: str) -> dict[str, Any]:
    """Return the manifest that lists the files for Redshift's COPY. For Parquet it must have each file's length."""
    return {
        "entries": [
            {
                "url": f"s3://{bucket}/{part.key}",
                "mandatory": True,
                "meta": {"content_length": part.size},
            }
            for part in export.parts
        ]
    }


def copy_statement(name: str, bucket: str, key: str, role: str) -> str:
    """Return Redshift's COPY. It takes no bound parameters, so key, bucket and role are checked here once more."""
    if not KEY.fullmatch(key) or not KEY.fullmatch(bucket) or not ROLE.fullmatch(role):
        raise ConfigurationError(f"s3://{bucket}/{key} or {role} can't be part of a statement")
    return f"COPY {name} FROM 's3://{bucket}/{key}' IAM_ROLE '{role}' FORMAT AS PARQUET MANIFEST"


def _from_stdin(cursor: Any, name: str, table: Table, export: Export, bucket: Bucket) -> None:
    import pyarrow.csv as csv

    # PyArrow writes NULL as an empty field and an empty text as "", and PostgreSQL reads them the same way.
    options = csv.WriteOptions(include_header=False, quoting_style="needed")
    with cursor.copy(f"COPY {name} ({', '.join(table.columns)}) FROM STDIN (FORMAT csv)") as copy:
        for part in export.parts:
            for batch in bucket.batches(part):
                text = io.BytesIO()
                csv.write_csv(batch, text, options)
                copy.write(text.getvalue())
