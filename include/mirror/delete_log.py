"""The delete log: a table in the source to which triggers write the deleted keys of one mirrored table.

`python -m include.mirror delete-log` prints the statements that create it; the mirror itself never runs them. A log has the
key's columns with their own types. A row holds a key that a `DELETE` or an `UPDATE` of the key has removed. A row of NULLs
stands for a `TRUNCATE`. The triggers write in the transaction that deletes, so a row is there exactly when the key is gone.

A run reads the log rows of transactions that the last run's snapshot did not see, as a scan does. In the same snapshot it
looks up which of these keys the table does not have (`move.py`). If the log is incomplete, all keys are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from hashlib import md5
from typing import TYPE_CHECKING

from include.mirror import names
from include.mirror.errors import SchemaError, SourceError
from include.mirror.phrases import label
from include.mirror.relation import DeleteLog, Relation

if TYPE_CHECKING:
    from include.mirror.declaration import Table

LOGS = "mirror"
"""The schema of the logs in the source."""

ROW_TRIGGERS = ("mirror_delete", "mirror_key")
TRUNCATE_TRIGGER = "mirror_truncate"

TRUSTED = timedelta(hours=12)
"""How old the last reading of a log may be. If it is older, all keys are compared, because rows may have been pruned."""

KEPT = timedelta(hours=24)
"""A log row is pruned once a snapshot at least this old has seen it: a mirror that read the log within TRUSTED has, too."""

INTRODUCTION = """\
-- Logs of deleted keys, made by: python -m include.mirror delete-log
-- Triggers write the keys that a DELETE, a TRUNCATE or a changed key removes; each run of the mirror reads them.
-- Run this in the source database as the tables' owner or a superuser. It is safe to run it again. After a table gets a
-- partition or another key, print it again and run it."""

INTEGERS = ("smallint", "integer", "bigint")


def find_log(
    table: Table, relation: Relation, key: Sequence[str], role: str | None
) -> tuple[DeleteLog | None, str]:
    """Return a table's log if it is complete, else None, and the reason why an existing log is not used.

    Raises SchemaError if the declaration requires a log and it is missing or incomplete, or if a log has the wrong columns.
    Raises SourceError if the role may not read the log.
    """
    log = relation.delete_log
    if table.deletes not in (None, "log"):
        return None, ""
    again = f"run what `python -m include.mirror delete-log --table {relation.schema}.{relation.name}` prints"
    if log is None:
        if table.deletes == "log":
            raise SchemaError(f"{label(relation)} has no log of deleted keys: {again}")
        return None, ""
    place = names.pg(LOGS, log.name)
    if not log.readable:
        to = names.pg(role or "…")
        raise SourceError(
            f"role {role or 'of the connection'} may not read the log of deleted keys of {label(relation)}: run "
            f"GRANT USAGE ON SCHEMA {LOGS} TO {to}; GRANT SELECT, DELETE ON {place} TO {to}"
        )
    types = {column.name: column.type.declared for column in relation.columns}
    wanted = tuple((name, types[name]) for name in key)
    if log.columns != wanted:
        raise SchemaError(
            f"the log of deleted keys of {label(relation)}, {place}, has columns {_columns(log.columns)}, and the key is "
            f"{_columns(wanted)}: drop it, and {again}"
        )
    every = (relation.oid, *relation.partitions)
    needed = {(oid, name) for oid in every for name in (*ROW_TRIGGERS, TRUNCATE_TRIGGER)}
    if missing := needed - log.triggers:
        some = ", ".join(sorted({name for _, name in missing}))
        why = f"{some} is missing or not ENABLE ALWAYS, on it or on a partition: {again}"
        if table.deletes == "log":
            raise SchemaError(f"{label(relation)}: {why}")
        return None, why
    return log, ""


def _columns(columns: Iterable[tuple[str, str]]) -> str:
    return f"({', '.join(f'{name} {declared}' for name, declared in columns)})"


def log_name(schema: str, relation: str) -> str:
    """Return the name of a table's log: `schema.table`, cut and with a hash if it is too long for PostgreSQL."""
    name = f"{schema}.{relation}"
    if len(name.encode()) <= names.PG_BYTES:
        return name
    digest = md5(name.encode(), usedforsecurity=False).hexdigest()[:10]
    return name.encode()[: names.PG_BYTES - 11].decode(errors="ignore") + "~" + digest


def statements(
    relation: Relation, key: Sequence[str], partitions: Sequence[tuple[str, str]], role: str | None
) -> list[str]:
    """Return the statements that create a table's log and its triggers, or update them.

    `partitions` are (schema, name) of the table's partitions at any depth. They get triggers of their own, because a
    TRUNCATE of a partition does not fire its parent's triggers.
    """
    table = names.pg(relation.schema, relation.name)
    log = names.pg(LOGS, log_name(relation.schema, relation.name))
    types = {column.name: column.type.declared for column in relation.columns}
    columns = ", ".join(f"{names.pg(name)} {types[name]}" for name in key)
    body = (
        "\nBEGIN\n    IF TG_OP = 'TRUNCATE' THEN\n"  # noqa: S608
        f"        INSERT INTO {log} DEFAULT VALUES;\n    ELSE\n"
        f"        INSERT INTO {log} ({', '.join(map(names.pg, key))})"
        f" VALUES ({', '.join(f'OLD.{names.pg(name)}' for name in key)});\n    END IF;\n    RETURN NULL;\nEND\n"
    )
    changed = " OR ".join(_changes(names.pg(name), types[name]) for name in key)
    found = [
        f"CREATE TABLE IF NOT EXISTS {log} ({columns})",
        # SECURITY DEFINER: whoever deletes rows needs no privilege on the log.
        f"CREATE OR REPLACE FUNCTION {log}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        f" SET search_path = pg_catalog, pg_temp AS {_quoted(body)}",
        f"REVOKE ALL ON FUNCTION {log}() FROM PUBLIC",
        f"CREATE OR REPLACE TRIGGER mirror_delete AFTER DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {log}()",
        f"CREATE OR REPLACE TRIGGER mirror_key AFTER UPDATE ON {table} FOR EACH ROW WHEN ({changed})"
        f" EXECUTE FUNCTION {log}()",
    ]
    for name in ROW_TRIGGERS:
        found.append(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
    for one in (table, *(names.pg(*partition) for partition in partitions)):
        found.append(
            f"CREATE OR REPLACE TRIGGER {TRUNCATE_TRIGGER} AFTER TRUNCATE ON {one} FOR EACH STATEMENT"
            f" EXECUTE FUNCTION {log}()"
        )
        found.append(f"ALTER TABLE {one} ENABLE ALWAYS TRIGGER {TRUNCATE_TRIGGER}")
    if role is not None:
        found.append(f"GRANT SELECT, DELETE ON {log} TO {names.pg(role)}")
    return found


def _changes(name: str, declared: str) -> str:
    """Return the SQL condition that an UPDATE has changed the key. Compared as text, because 1.0 and 1.00 are equal in
    PostgreSQL but two keys in the warehouse."""
    cast = "" if declared in INTEGERS else "::text"
    return f"OLD.{name}{cast} IS DISTINCT FROM NEW.{name}{cast}"


def _quoted(body: str) -> str:
    tag = "$mirror$"
    while tag in body:
        tag = tag[:-1] + "_$"
    return f"{tag}{body}{tag}"
