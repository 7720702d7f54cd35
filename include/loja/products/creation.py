"""`criacao_produtos`: the states of a pending product, and the outcome of one try of a step. No database here.

    pendente ──process──▶ processado ──validate──▶ validado ──catalogue──▶ catalogado
        └─────────────────────┴── tries used up, or refused ──▶ falhou ──replay──▶ pendente

A later run retries a failed step, once the product's own delay is over. So no run waits for a product, and no product
waits for another. A product with wrong content (a negative price) is refused at once: a retry would read the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

MAX_PRICE = Decimal("9999999999.99")


class State(StrEnum):
    """The values of `produtos_pendentes.estado`, in order. The last two are final."""

    PENDING = "pendente"
    PROCESSED = "processado"
    VALIDATED = "validado"
    CATALOGUED = "catalogado"
    FAILED = "falhou"


OPEN = (State.PENDING, State.PROCESSED, State.VALIDATED)


@dataclass(frozen=True)
class Step:
    """A step takes a product from one state to the next. `retries` does not count the first try."""

    name: str
    leads_to: State
    retries: int


STEPS = {
    State.PENDING: Step("processar", State.PROCESSED, 3),
    State.PROCESSED: Step("validar", State.VALIDATED, 2),
    State.VALIDATED: Step("catalogar", State.CATALOGUED, 3),
}


class Refused(Exception):
    """The product's content is wrong, so a retry can't help."""


class NotYet(Exception):
    """A value is missing that somebody may add later: try again."""


@dataclass(frozen=True)
class Product:
    """A pending product. People may leave a field empty; it is None then."""

    pendente_id: int
    state: State
    attempts: int
    nome: str | None
    categoria: str | None
    preco: Decimal | None
    estoque: int | None
    produto_id: int | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of a try: the product's state, the failed tries of its next step, whether it must wait, the reason."""

    state: State
    attempts: int
    wait: bool
    reason: str | None


def process(product: Product) -> Product:
    """Return the product in the form of the catalogue. Raises Refused, naming value and rule."""
    name = re.sub(r"\s+", " ", product.nome or "").strip()
    category = re.sub(r"\s+", " ", product.categoria or "").strip()
    if not name:
        raise Refused(f"nome is {product.nome!r}: it must not be empty")
    if not category:
        raise Refused(f"categoria is {product.categoria!r}: it must not be empty")
    price = product.preco
    if price is None or not 0 < price <= MAX_PRICE:
        raise Refused(f"preco is {price}: it must be above 0 and at most {MAX_PRICE}")
    if price != price.quantize(Decimal("0.01")):
        raise Refused(f"preco is {price}: it must have at most two decimals")
    return replace(product, nome=name, categoria=category, preco=price.quantize(Decimal("0.01")))


def validate_stock(product: Product) -> Product:
    """Return the product. Raises NotYet if `estoque` is empty, Refused if it is negative."""
    if product.estoque is None:
        raise NotYet("estoque is empty: nobody has counted it yet")
    if product.estoque < 0:
        raise Refused(f"estoque is {product.estoque}: it must be at least 0")
    return product


def done(product: Product) -> Outcome:
    """Return the outcome of a step that succeeded."""
    return Outcome(STEPS[product.state].leads_to, 0, wait=False, reason=None)


def failed(product: Product, reason: str, final: bool) -> Outcome:
    """Return the outcome of a failed try: the product waits for the next try, or has failed for good."""
    step = STEPS[product.state]
    attempts = product.attempts + 1
    if final or attempts > step.retries:
        tries = "refused" if final else f"{attempts} tries"
        return Outcome(State.FAILED, attempts, wait=False, reason=f"{step.name}, {tries}: {reason}"[:500])
    return Outcome(product.state, attempts, wait=True, reason=reason[:500])
