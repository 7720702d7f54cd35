"""The warehouse: Redshift, or PostgreSQL in its place. They differ in two things, and these are all that is here twice.

| | Redshift | PostgreSQL |
|---|---|---|
| a stage is filled by | `COPY … FROM 's3://…'`, read by Redshift in parallel | `COPY … FROM STDIN`, part by part |
| of two loads at once | one waits for the ledger's lock | one waits for the tables' lock; readers do not |

Redshift has one kind of lock, which keeps readers away too, so only the ledger has it, which nobody else reads for long. It
is what counts: under snapshot isolation, the default of new clusters, two loads that saw the same state would both commit.

Everything else is the SQL that both have, through DB-API with `%s`.
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
    """How to connect (DB-API, without autocommit), to fill a stage, and to keep a second load away."""

    connect: Callable[[], Any]
    copy: Copy
    lock: Callable[[Any, Sequence[str]], None]

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session with the tables in place; what it did not commit is rolled back at the end."""
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
    """One connection to the warehouse; its stages are temporary tables, gone with it however it ends."""

    destination: Destination
    connection: Any

    def run(self, text: str) -> None:
        """Execute statements without values, one after the other."""
        cursor = self.connection.cursor()
        for statement in sql.statements(text):
            cursor.execute(statement)

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return a query's rows."""
        cursor = self.connection.cursor()
        cursor.execute(statement, values) if values else cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]

    def fill(self, table: Table, exports: Sequence[Export], bucket: Bucket) -> Figures:
        """Make the stage `estagio_<table>` and fill it; return its figures.

        Raises ComparisonError when they are not what was exported.
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
            raise ComparisonError(f"the stage of {table.name} holds {figures}; exported were {expected}")
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
        """Return the figures of a relation, of the keys in [low, high) where they are given.

        `values` are what the relation's own text has `%s` for.
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
    """Return PostgreSQL as the warehouse; `dsn` is libpq's."""

    def connect() -> Any:
        import psycopg

        connection = psycopg.connect(dsn)
        # As on Redshift: what is compared in several statements is one state, whoever publishes meanwhile.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return connection

    def lock(cursor: Any, tables: Sequence[str]) -> None:
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")

    return Destination(connect, _from_stdin, lock)


def redshift(connect: Callable[[], Any], role: str) -> Destination:
    """Return Redshift as the warehouse; `role` is the ARN that it reads S3 with.

    Raises ConfigurationError for a text that is no ARN of a role: it becomes part of a statement.
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
        # The first statement of its transaction: it takes no snapshot, so the next one sees what the other load left.
        cursor.execute(f"LOCK TABLE {LEDGER}")

    return Destination(connect, copy, lock)


def manifest(export: Export, bucket: str) -> dict[str, Any]:
    """Return what Redshift's COPY takes as the list of its files; Parquet needs each one's length."""
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
    """Return Redshift's COPY. It takes no bound parameters: what is put into it has been checked, and is again here."""
    if not KEY.fullmatch(key) or not KEY.fullmatch(bucket) or not ROLE.fullmatch(role):
        raise ConfigurationError(f"s3://{bucket}/{key} or {role} can't be part of a statement")
    return f"COPY {name} FROM 's3://{bucket}/{key}' IAM_ROLE '{role}' FORMAT AS PARQUET MANIFEST"


def _from_stdin(cursor: Any, name: str, table: Table, export: Export, bucket: Bucket) -> None:
    import pyarrow.csv as csv

    # NULL is a field without anything in it, an empty text one with quotes: both sides take it so.
    options = csv.WriteOptions(include_header=False, quoting_style="needed")
    with cursor.copy(f"COPY {name} ({', '.join(table.columns)}) FROM STDIN (FORMAT csv)") as copy:
        for part in export.parts:
            for batch in bucket.batches(part):
                text = io.BytesIO()
                csv.write_csv(batch, text, options)
                copy.write(text.getvalue())
