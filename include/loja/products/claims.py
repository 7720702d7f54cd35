"""`criacao_produtos` on the database: claim what is due, take each product through its steps, one transaction a step.

| step | when the process dies right after it |
|------|--------------------------------------|
| claim: `reserva` = the run, for all its batches, one transaction | the retry gets it again; a new run takes it over |
| a step: lock the row, check claim and state, do it, write state and event, commit | done once; the next try goes on |
| in the middle of a step | rolled back: it was never tried |
| a failed step: tries, reason, next time, no claim | as any other product that is due later |

Two at once. Airflow keeps one run (`max_active_runs=1`), but not one process: a task whose worker fell silent may go on
while its retry runs, and a cleared run overlaps with a scheduled one. Both lock the row before they read state and claim,
so a step is done by one of them and the other finds it done. A new run takes over what an older one still claims: whoever
loses its claim leaves the product alone from the next step on. `SKIP LOCKED` keeps both claim and step from waiting for
a row that somebody else works on.

A product in the catalogue: the insert and the state are one transaction, so there is no product twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from include.conventions import sql
from include.conventions.errors import RequestError
from include.loja.mysql import is_transient, transaction
from include.loja.products.creation import (
    OPEN,
    STEPS,
    NotYet,
    Outcome,
    Product,
    Refused,
    State,
    done,
    failed,
    process,
    validate_stock,
)

FOLDER = "criacao_produtos"
# A single connection that is gone is no product's fault.
CONNECTION_LOST = (2006, 2013)


@dataclass(frozen=True)
class Claims:
    """The pending products, as one run sees them; `run` is its id, the claim's owner."""

    connection: Connection[DictCursor]
    run: str
    delay: timedelta

    def replay(self, products: Sequence[int] | None) -> int:
        """Put failed products (all of them for None) back to the start; return how many.

        Raises RequestError for one that is not in the state `falhou`; nothing is put back then. Those that an earlier
        try of this run has put back are no error.
        """
        with transaction(self.connection) as cursor:
            if products is not None:
                cursor.execute(sql.text(FOLDER, "lock_failed"), {"ids": tuple(products), "run": self.run})
                found = {row["pendente_id"] for row in cursor.fetchall()}
                if missing := sorted(set(products) - found):
                    raise RequestError(
                        f"pending product {', '.join(map(str, missing))} has not failed: only those in the state "
                        "falhou can be repeated"
                    )
            cursor.execute(
                sql.text(FOLDER, "replay_failed"),
                {"run": self.run, "every": products is None, "ids": tuple(products or (0,))},
            )
            return cursor.execute(
                sql.text(FOLDER, "reset_failed"), {"every": products is None, "ids": tuple(products or (0,))}
            )

    def claim(self, batches: int, batch: int) -> list[list[int]]:
        """Claim what is due, oldest first; return its ids in at most `batches` lists of at most `batch`."""
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "read_due"), {"run": self.run, "limit": batches * batch})
            ids = [row["pendente_id"] for row in cursor.fetchall()]
            if ids:
                cursor.execute(sql.text(FOLDER, "claim"), {"run": self.run, "ids": tuple(ids)})
        return [ids[start : start + batch] for start in range(0, len(ids), batch)]

    def work(self, ids: Sequence[int]) -> dict[str, int]:
        """Take each of these through all steps it can take now; return how many ended in which state.

        `adiado` are those that a later run tries again, `alheio` those that are not this run's any more.
        """
        counted: Counter[str] = Counter()
        for pendente_id in ids:
            counted[self._advance(pendente_id)] += 1
        return dict(counted)

    def left(self) -> int:
        """Return how many open products this run still claims: those that no task has worked on."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql.text(FOLDER, "count_claimed"), {"run": self.run})
            [row] = cursor.fetchall()
        return int(row["n"])

    def report(self) -> list[dict[str, Any]]:
        """Return this run's events of products that failed or wait: id, step, state and reason."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql.text(FOLDER, "read_failures"), {"run": self.run})
            return list(cursor.fetchall())

    def _advance(self, pendente_id: int) -> str:
        while True:
            try:
                outcome = self._step(pendente_id)
            except Exception as error:
                if not is_transient(error) or error.args[0] in CONNECTION_LOST:
                    raise
                # Its own transaction is rolled back; the failed try is recorded in one of its own.
                outcome = self._fail(pendente_id, f"MySQL: {' '.join(map(str, error.args))}")
            if outcome is None:
                return "alheio"
            if outcome.wait:
                return "adiado"
            if outcome.state not in OPEN:
                return outcome.state.value

    def _step(self, pendente_id: int) -> Outcome | None:
        """Try the step that the product's state asks for, in one transaction; None where it is not this run's."""
        with transaction(self.connection) as cursor:
            product = self._lock(cursor, pendente_id)
            if product is None:
                return None
            try:
                DO[product.state](cursor, product)
                outcome = done(product)
            except Refused as reason:
                outcome = failed(product, str(reason), final=True)
            except NotYet as reason:
                outcome = failed(product, str(reason), final=False)
            self._record(cursor, product, outcome)
            return outcome

    def _fail(self, pendente_id: int, reason: str) -> Outcome | None:
        with transaction(self.connection) as cursor:
            product = self._lock(cursor, pendente_id)
            if product is None:
                return None
            outcome = failed(product, reason, final=False)
            self._record(cursor, product, outcome)
            return outcome

    def _lock(self, cursor: DictCursor, pendente_id: int) -> Product | None:
        cursor.execute(sql.text(FOLDER, "lock_claimed"), {"id": pendente_id, "run": self.run})
        row = cursor.fetchone()
        return _product(row) if row else None

    def _record(self, cursor: DictCursor, product: Product, outcome: Outcome) -> None:
        cursor.execute(
            sql.text(FOLDER, "write_state"),
            {
                "id": product.pendente_id,
                "state": outcome.state.value,
                "attempts": outcome.attempts,
                "reason": outcome.reason,
                "delay": self.delay.total_seconds() if outcome.wait else 0,
                # Kept from one step to the next of the same run, and given up with the last.
                "run": self.run if outcome.state in OPEN and not outcome.wait else None,
            },
        )
        cursor.execute(
            sql.text(FOLDER, "insert_event"),
            {
                "id": product.pendente_id,
                "step": STEPS[product.state].name,
                "state": outcome.state.value,
                "reason": outcome.reason,
                "run": self.run,
            },
        )


def _process(cursor: DictCursor, product: Product) -> None:
    processed = process(product)
    cursor.execute(sql.text(FOLDER, "write_processed"), _values(processed))
    # Sent after the commit, by include.loja.products.notices.
    action = "criar" if product.produto_id is None else "atualizar"
    cursor.execute(sql.text(FOLDER, "insert_notice"), {"id": product.pendente_id, "action": action})


def _validate(cursor: DictCursor, product: Product) -> None:
    validate_stock(product)


def _catalogue(cursor: DictCursor, product: Product) -> None:
    # Once more: it may have waited between the steps, and who mends one thing may break another.
    product = validate_stock(process(product))
    if product.produto_id is None:
        cursor.execute(sql.text(FOLDER, "insert_product"), _values(product))
        cursor.execute(
            sql.text(FOLDER, "write_product_id"), {"id": product.pendente_id, "key": cursor.lastrowid}
        )
        return
    cursor.execute(sql.text(FOLDER, "lock_product"), _values(product))
    if cursor.fetchone() is None:
        raise Refused(f"produto_id is {product.produto_id}: the catalogue has no such product")
    cursor.execute(sql.text(FOLDER, "update_product"), _values(product))


DO: Mapping[State, Callable[[DictCursor, Product], None]] = {
    State.PENDING: _process,
    State.PROCESSED: _validate,
    State.VALIDATED: _catalogue,
}


def _values(product: Product) -> dict[str, Any]:
    return {
        "id": product.pendente_id,
        "produto_id": product.produto_id,
        "nome": product.nome,
        "categoria": product.categoria,
        "preco": product.preco,
        "estoque": product.estoque,
    }


def _product(row: Mapping[str, Any]) -> Product:
    return Product(
        pendente_id=row["pendente_id"],
        state=State(row["estado"]),
        attempts=row["tentativas"],
        nome=row["nome"],
        categoria=row["categoria"],
        preco=row["preco"],
        estoque=row["estoque"],
        produto_id=row["produto_id"],
    )
