"""`criacao_produtos` on the database: claim the due products, then take each through its steps. A step is a transaction.

| step | when the process dies right after it |
|------|--------------------------------------|
| claim: `reserva` = the run's id, for all batches in one transaction | the retry gets the same; a new run takes them over |
| a step: lock the row, check claim and state, do it, write state and event, commit | done once; the next try goes on |
| in the middle of a step | the server rolls back: the step was never tried |
| a failed step: write tries, reason and next time; release the claim | the product is due later, as any other |

Two processes at once: Airflow keeps one active run (`max_active_runs=1`), but it can't keep one process. A task whose
worker lost contact may continue while its retry runs, and a cleared run may overlap with a scheduled one. Both processes
lock the row before they read state and claim. So one of them does the step, and the other finds it done. A new run takes
over the claims of an older run: from its next step on, the older run skips these products. With `SKIP LOCKED`, neither
claim nor step waits for a row that another process has locked.

The insert into the catalogue and the product's new state are one transaction, so no product is inserted twice.
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
# Errors of the connection, which no product has caused.
CONNECTION_LOST = (2006, 2013)


@dataclass(frozen=True)
class Claims:
    """The pending products as one run sees them. `run` is the run's id, which owns the claims."""

    connection: Connection[DictCursor]
    run: str
    delay: timedelta

    def replay(self, products: Sequence[int] | None) -> int:
        """Put these failed products back to the first state (None: all failed ones); return how many.

        Raises RequestError for a product that is not in the state `falhou`; then none is put back. A product that an
        earlier try of this run has put back raises nothing.
        """
        with transaction(self.connection) as cursor:
            if products is not None:
                cursor.execute(sql.text(FOLDER, "lock_failed"), {"ids": tuple(products), "run": self.run})
                found = {row["pendente_id"] for row in cursor.fetchall()}
                if missing := sorted(set(products) - found):
                    raise RequestError(
                        f"pending product {', '.join(map(str, missing))} has not failed: only products in the state "
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
        """Claim the due products, oldest first; return their ids in at most `batches` lists of at most `batch` ids."""
        with transaction(self.connection) as cursor:
            cursor.execute(sql.text(FOLDER, "read_due"), {"run": self.run, "limit": batches * batch})
            ids = [row["pendente_id"] for row in cursor.fetchall()]
            if ids:
                cursor.execute(sql.text(FOLDER, "claim"), {"run": self.run, "ids": tuple(ids)})
        return [ids[start : start + batch] for start in range(0, len(ids), batch)]

    def work(self, ids: Sequence[int]) -> dict[str, int]:
        """Take each product through all steps that it can take now; return the number of products per final state.

        `adiado` counts products that a later run tries again, `alheio` products that this run no longer claims.
        """
        counted: Counter[str] = Counter()
        for pendente_id in ids:
            counted[self._advance(pendente_id)] += 1
        return dict(counted)

    def left(self) -> int:
        """Return how many open products this run still claims: no task has worked on them."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql.text(FOLDER, "count_claimed"), {"run": self.run})
            [row] = cursor.fetchall()
        return int(row["n"])

    def report(self) -> list[dict[str, Any]]:
        """Return this run's events for products that failed or wait: id, step, state and reason."""
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
                # The step's transaction is rolled back, so the failed try is recorded in another one.
                outcome = self._fail(pendente_id, f"MySQL: {' '.join(map(str, error.args))}")
            if outcome is None:
                return "alheio"
            if outcome.wait:
                return "adiado"
            if outcome.state not in OPEN:
                return outcome.state.value

    def _step(self, pendente_id: int) -> Outcome | None:
        """Try the next step of the product's state, in one transaction; None if this run does not claim the product."""
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
                # The run keeps its claim from step to step, and releases it with the last one.
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
    # Check again: somebody may have edited the row between two steps.
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
