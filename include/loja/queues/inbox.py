"""What the database knows of messages: whose effect is in it, what failed how often, and what a run came to.

A message's effect and the row with its id are one transaction, so that either both are there or neither. A batch is one
transaction as well, for its speed; when one message in it is refused, the batch is rolled back and gone through again
one by one, so that the others are kept.

| two consumers have the same message at once | the second waits at the id's row until the first has committed or rolled |
|                                             | back, and then finds the id there, or is the one that stores it          |
| two batches share several messages          | both go through their ids in the same order, so neither waits for the    |
|                                             | other in a circle                                                        |
| the process dies in the transaction         | the server rolls it back; the message is still the queue's               |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from include.conventions import sql
from include.loja.mysql import execute_script, transaction
from include.loja.queues.message import Message

FOLDER = "consumir_fila"
# A rule of the database's own refuses the row: SIGNAL SQLSTATE '45000', and CHECK in MySQL and in MariaDB.
RULES = {1644, 3819, 4025}
LONGEST_REASON = 500

Effect = Callable[[DictCursor, Message], None]
"""What a message does, by the given cursor alone, so that it is part of the transaction."""


class Refused(Exception):
    """A message that makes sense but can't be applied now; it is tried again, and then set aside."""


@dataclass(frozen=True)
class Failures:
    """What went wrong with a message so far; `tries` failed, `lost` deliveries nobody finished."""

    tries: int = 0
    lost: int = 0
    dead: bool = False


@dataclass(frozen=True)
class Metrics:
    """What a run came to in one queue; `taxa` is sucessos / total, and None where there was nothing."""

    total: int
    sucessos: int
    falhas: int
    taxa: float | None


def metrics(sucessos: int, falhas: int) -> Metrics:
    """Return the numbers of a run: of nothing, no share succeeded, and none failed."""
    total = sucessos + falhas
    return Metrics(total, sucessos, falhas, sucessos / total if total else None)


def record_movement(cursor: DictCursor, message: Message) -> None:
    """Write down what a message did: the effect of all three types."""
    cursor.execute(
        sql.text(FOLDER, "insert_movement"),
        {"id": message.id, "tipo": message.tipo, "acao": message.dados.acao},
    )


class Inbox:
    """The tables of the queue workers, for one run and one queue."""

    def __init__(
        self,
        connection: Connection[DictCursor],
        queue: str,
        run: str,
        effect: Effect = record_movement,
    ) -> None:
        self.connection = connection
        self.queue = queue
        self.run = run
        self.effect = effect
        self._insert = sql.text(FOLDER, "insert_message")

    def apply(self, messages: Sequence[Message]) -> Mapping[bytes, str]:
        """Store these messages and their effects, each at most once for all times.

        Returns why, by the digest, of those that are refused; all others are committed, now or long ago. What is
        wrong with the database rather than with a message is raised; what is not stored then is still the queue's.
        """
        # In the order of ids, never in another; of two with one id and different contents, the first is stored.
        ordered = sorted(messages, key=lambda message: message.id)
        try:
            with transaction(self.connection) as cursor:
                for message in ordered:
                    self._apply(cursor, message)
        except Exception as error:
            if _reason(error) is None:
                raise
        else:
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
        """Return what is known of these messages; those without a failure are not among them."""
        if not keys:
            return {}
        with self.connection.cursor() as cursor:
            cursor.execute(sql.text(FOLDER, "read_failures"), {"fila": self.queue, "chaves": tuple(keys)})
            return {
                row["chave"]: Failures(row["tentativas"], row["entregas"], row["morta_em"] is not None)
                for row in cursor.fetchall()
            }

    def count_failure(self, key: str, reason: str) -> int:
        """Count a failed try; return how many there are now."""
        return self._count("count_failure", key, reason).tries

    def count_lost(self, key: str) -> int:
        """Count a delivery after one that nobody finished; return how many there are now."""
        return self._count("count_redelivery", key).lost

    def uncount_lost(self, key: str) -> None:
        """Take back one count of a delivery that came to no end, if the database answers."""
        with suppress(pymysql.MySQLError), transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "uncount_redelivery"), {"chave": key, "fila": self.queue})

    def mark_dead(self, key: str, reason: str) -> None:
        """Note that a message lies in the dead-letter queue, once more if it was put there before in this run."""
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "mark_dead"), self._values(key, reason))

    def forget(self, key: str) -> None:
        """Forget a message's failures, so that it may be tried anew."""
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "forget_failure"), {"chave": key, "fila": self.queue})

    def measure(self) -> Metrics:
        """Return what this run came to so far, and keep it: counted from the rows, not by whoever wrote them."""
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "read_metrics"), {"execucao": self.run, "fila": self.queue})
            row = cursor.fetchone()
            assert row is not None  # noqa: S101 (a count always answers)
            found = metrics(row["sucessos"], row["falhas"])
            values = {"execucao": self.run, "fila": self.queue, **vars(found)}
            values["taxa"] = None if found.taxa is None else Decimal(found.taxa).quantize(Decimal("0.000001"))
            cursor.execute(sql.text(FOLDER, "write_metrics"), values)
        return found

    def _apply(self, cursor: DictCursor, message: Message) -> None:
        metadata = message.dados.metadados
        inserted = cursor.execute(
            self._insert,
            {
                "id": message.id,
                "fila": self.queue,
                "tipo": message.tipo,
                "acao": message.dados.acao,
                "origem": metadata.origem,
                "prioridade": metadata.prioridade,
                "criada_em": message.at,
                "resumo": message.digest,
                "execucao": self.run,
            },
        )
        if inserted:
            self.effect(cursor, message)
            return
        cursor.execute(sql.text(FOLDER, "read_digest"), {"id": message.id})
        row = cursor.fetchone()
        if row is not None and row["resumo"] != message.digest:
            raise Refused(f"{message.id} is stored already, with another content")

    def _count(self, statement: str, key: str, reason: str | None = None) -> Failures:
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, statement), self._values(key, reason))
        return self.failures([key])[key]

    def _values(self, key: str, reason: str | None) -> dict[str, str | None]:
        cut = None if reason is None else reason[:LONGEST_REASON]
        return {"chave": key, "fila": self.queue, "motivo": cut, "execucao": self.run}


def create_tables(connection: Connection[DictCursor]) -> None:
    """Create the tables where they are missing."""
    execute_script(connection, FOLDER, "create_tables")


def _reason(error: Exception) -> str | None:
    """Return why a message was refused, or None when it is not the message's fault."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, pymysql.DataError | pymysql.IntegrityError):
        return f"MySQL {error.args[0]}: {error.args[1]}"
    if isinstance(error, pymysql.MySQLError) and error.args and error.args[0] in RULES:
        return f"MySQL {error.args[0]}: {error.args[1]}"
    return None
