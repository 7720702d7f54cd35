"""The messages' tables in the database: stored messages, failures with their counts, and the numbers of each run.

A message's effect and the row with its id are one transaction, so both are there or neither. For speed, a whole batch is
one transaction with two statements. If one of its ids is stored already, the batch is rolled back and applied message by
message, in one transaction. If one of its messages is refused, each gets a transaction of its own, so that the others are
stored.

| two consumers hold the same message at once | the second waits for the id's row until the first commits or rolls back; |
|                                             | then it finds the id, or stores the message itself                       |
| two batches share several messages          | both apply their messages in the order of ids, so there is no deadlock   |
| the process dies in the transaction         | the server rolls it back; the message is still in the queue              |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from include.conventions import sql
from include.loja.mysql import execute_script, transaction
from include.loja.queues.message import Message

FOLDER = "consumir_fila"
# A rule in the database refuses the row: SIGNAL SQLSTATE '45000', and CHECK in MySQL and in MariaDB.
RULES = {1644, 3819, 4025}
LONGEST_REASON = 500

Effect = Callable[[DictCursor, Sequence[Message]], None]
"""Applies the effects of messages. It must use the given cursor only, so that the effects are part of the transaction."""


class _KnownError(Exception):
    """An id of a batch is stored already, or is there twice."""


class Refused(Exception):
    """A valid message that can't be applied now. It is tried again, and then set apart."""


@dataclass(frozen=True)
class Failures:
    """A message's failures so far: `tries` failed tries, and `lost` deliveries that were not finished."""

    tries: int = 0
    lost: int = 0
    dead: bool = False


@dataclass(frozen=True)
class Metrics:
    """A run's numbers for one queue. `taxa` is sucessos / total, or None if total is 0."""

    total: int
    sucessos: int
    falhas: int
    taxa: float | None


def metrics(sucessos: int, falhas: int) -> Metrics:
    """Return a run's numbers, with `total` and `taxa` computed."""
    total = sucessos + falhas
    return Metrics(total, sucessos, falhas, sucessos / total if total else None)


def record_movements(cursor: DictCursor, messages: Sequence[Message]) -> None:
    """Insert a row into `movimentos` for each message: the effect of all three types of messages."""
    cursor.executemany(
        sql.text(FOLDER, "insert_movement"),
        [{"id": message.id, "tipo": message.tipo, "acao": message.dados.acao} for message in messages],
    )


class Inbox:
    """The messages' tables, for one run and one queue."""

    def __init__(
        self,
        connection: Connection[DictCursor],
        queue: str,
        run: str,
        effect: Effect = record_movements,
    ) -> None:
        self.connection = connection
        self.queue = queue
        self.run = run
        self.effect = effect
        # PyMySQL makes one statement of many rows only if the text begins with INSERT.
        self._insert = re.sub(r"\A(--.*\n)+", "", sql.text(FOLDER, "insert_message"))

    def apply(self, messages: Sequence[Message]) -> Mapping[bytes, str]:
        """Store these messages and their effects, each id at most once ever.

        Returns the reasons of the refused messages, by digest; all other messages are committed, now or by an earlier
        call. Raises the database's errors that no message has caused; messages not stored then are still in the queue.
        """
        # Always in the order of ids, against deadlocks. The sort is stable: of two messages with one id, the first wins.
        ordered = sorted(messages, key=lambda message: message.id)
        for store in (self._store_new, self._store_each):
            try:
                with transaction(self.connection) as cursor:
                    store(cursor, ordered)
            except _KnownError:
                continue
            except Exception as error:
                if _reason(error) is None:
                    raise
                break
            return {}
        refused = {}
        for message in ordered:
            try:
                with transaction(self.connection) as cursor:
                    self._apply(cursor, message)
            except Exception as error:
                if (reason := _reason(error)) is None:
                    raise
                refused[message.digest] = reason
        return refused

    def failures(self, keys: Collection[str]) -> Mapping[str, Failures]:
        """Return the failures of these messages. A message without a failure has no entry."""
        if not keys:
            return {}
        with self.connection.cursor() as cursor:
            cursor.execute(sql.text(FOLDER, "read_failures"), {"fila": self.queue, "chaves": tuple(keys)})
            return {
                row["chave"]: Failures(row["tentativas"], row["entregas"], row["morta_em"] is not None)
                for row in cursor.fetchall()
            }

    def count_failure(self, key: str, reason: str) -> int:
        """Count a failed try; return the new count."""
        return self._count("count_failure", key, reason).tries

    def count_lost(self, key: str) -> int:
        """Count a redelivery, which means that an earlier delivery was not finished; return the new count."""
        return self._count("count_redelivery", key).lost

    def uncount_lost(self, key: str) -> None:
        """Undo one `count_lost`, if the database answers."""
        with suppress(pymysql.MySQLError), transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "uncount_redelivery"), {"chave": key, "fila": self.queue})

    def mark_dead(self, key: str, reason: str) -> None:
        """Note that this run has put a message into the dead-letter queue; count it if the run has done so before."""
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "mark_dead"), self._values(key, reason))

    def forget(self, key: str) -> None:
        """Delete a message's failures, so that it is tried as a new one."""
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "forget_failure"), {"chave": key, "fila": self.queue})

    def measure(self) -> Metrics:
        """Return this run's numbers so far, and store them. They are counted from the rows, not by the consumers."""
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "read_metrics"), {"execucao": self.run, "fila": self.queue})
            row = cursor.fetchone()
            assert row is not None  # noqa: S101 (COUNT always returns a row)
            found = metrics(row["sucessos"], row["falhas"])
            values = {"execucao": self.run, "fila": self.queue, **vars(found)}
            values["taxa"] = None if found.taxa is None else Decimal(found.taxa).quantize(Decimal("0.000001"))
            cursor.execute(sql.text(FOLDER, "write_metrics"), values)
        return found

    def count(self, found: Metrics) -> Metrics:
        """Return what of these numbers no report of this run has counted yet, and note that this one does.

        A process that dies before it has counted leaves this part uncounted; nothing is ever counted twice.
        """
        values = {"execucao": self.run, "fila": self.queue}
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "lock_counted"), values)
            cursor.execute(sql.text(FOLDER, "read_counted"), values)
            row = cursor.fetchone()
            assert row is not None  # noqa: S101 (the first statement has inserted it)
            # A dead letter that was put back is no failure any more, but the counter can't take it back.
            most = {name: max(row[name], getattr(found, name)) for name in ("sucessos", "falhas")}
            cursor.execute(sql.text(FOLDER, "write_counted"), {**values, **most})
        return metrics(most["sucessos"] - row["sucessos"], most["falhas"] - row["falhas"])

    def _store_new(self, cursor: DictCursor, messages: Sequence[Message]) -> None:
        """Store messages at once. Raises _KnownError unless all of their ids are new."""
        if not messages:
            return
        # Affects one row for each new id, and none for others.
        if cursor.executemany(self._insert, [self._row(message) for message in messages]) != len(messages):
            raise _KnownError
        self.effect(cursor, messages)

    def _store_each(self, cursor: DictCursor, messages: Sequence[Message]) -> None:
        for message in messages:
            self._apply(cursor, message)

    def _row(self, message: Message) -> dict[str, Any]:
        metadata = message.dados.metadados
        return {
            "id": message.id,
            "fila": self.queue,
            "tipo": message.tipo,
            "acao": message.dados.acao,
            "origem": metadata.origem,
            "prioridade": metadata.prioridade,
            "criada_em": message.at,
            "resumo": message.digest,
            "execucao": self.run,
        }

    def _apply(self, cursor: DictCursor, message: Message) -> None:
        if cursor.execute(self._insert, self._row(message)):
            self.effect(cursor, [message])
            return
        cursor.execute(sql.text(FOLDER, "read_digest"), {"id": message.id})
        row = cursor.fetchone()
        if row is not None and row["resumo"] != message.digest:
            raise Refused(f"{message.id} is stored already, with a different content")

    def _count(self, statement: str, key: str, reason: str | None = None) -> Failures:
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, statement), self._values(key, reason))
        return self.failures([key])[key]

    def _values(self, key: str, reason: str | None) -> dict[str, str | None]:
        cut = None if reason is None else reason[:LONGEST_REASON]
        return {"chave": key, "fila": self.queue, "motivo": cut, "execucao": self.run}


def create_tables(connection: Connection[DictCursor]) -> None:
    """Create those tables that are missing."""
    execute_script(connection, FOLDER, "create_tables")


def _reason(error: Exception) -> str | None:
    """Return why the message was refused, or None if the error has another cause than the message."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, pymysql.DataError | pymysql.IntegrityError):
        return f"MySQL {error.args[0]}: {error.args[1]}"
    if isinstance(error, pymysql.MySQLError) and error.args and error.args[0] in RULES:
        return f"MySQL {error.args[0]}: {error.args[1]}"
    return None
