"""`criacao_produtos`: what a pending product goes through, and what one try of a step makes of it. No database here.

    pendente ──process──▶ processado ──validate──▶ validado ──catalogue──▶ catalogado
        └─────────────────────┴── tries used up, or refused ──▶ falhou ──replay──▶ pendente

A step that fails is tried again by a later run, not before the product's own delay: a run waits for no product, and no
product for another. What the content alone decides (a negative price) is refused at once: a second try reads the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

MAX_PRICE = Decimal("9999999999.99")


class State(StrEnum):
    """In `produtos_pendentes.estado`, in order; the last two are ends."""

    PENDING = "pendente"
    PROCESSED = "processado"
    VALIDATED = "validado"
    CATALOGUED = "catalogado"
    FAILED = "falhou"


OPEN = (State.PENDING, State.PROCESSED, State.VALIDATED)


@dataclass(frozen=True)
class Step:
    """What takes a product from one state to the next; `retries` are tries after the first."""

    name: str
    leads_to: State
    retries: int


STEPS = {
    State.PENDING: Step("processar", State.PROCESSED, 3),
    State.PROCESSED: Step("validar", State.VALIDATED, 2),
    State.VALIDATED: Step("catalogar", State.CATALOGUED, 3),
}


class Refused(Exception):
    """The product's content is wrong, and no further try will mend it."""


class NotYet(Exception):
    """Something is missing that somebody may add: to be tried again."""


@dataclass(frozen=True)
class Product:
    """A pending product. What may be None is what people may leave open."""

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
    """What a try made of the product: its state, the failed tries of its next step, whether it is to wait, and why."""

    state: State
    attempts: int
    wait: bool
    reason: str | None


def process(product: Product) -> Product:
    """Return the product in the form that the catalogue takes. Raises Refused, naming value and rule."""
    name = re.sub(r"\s+", " ", product.nome or "").strip()
    category = re.sub(r"\s+", " ", product.categoria or "").strip()
    if not name:
        raise Refused(f"nome is {product.nome!r}: it must hold a letter")
    if not category:
        raise Refused(f"categoria is {product.categoria!r}: it must hold a letter")
    price = product.preco
    if price is None or not 0 < price <= MAX_PRICE:
        raise Refused(f"preco is {price}: it must be above 0 and at most {MAX_PRICE}")
    if price != price.quantize(Decimal("0.01")):
        raise Refused(f"preco is {price}: it must have at most two decimals")
    return replace(product, nome=name, categoria=category, preco=price.quantize(Decimal("0.01")))


def validate_stock(product: Product) -> Product:
    """Return the product. Raises NotYet where nobody has counted it, Refused where the count makes no sense."""
    if product.estoque is None:
        raise NotYet("estoque is empty: nobody has counted it yet")
    if product.estoque < 0:
        raise Refused(f"estoque is {product.estoque}: it must be at least 0")
    return product


def done(product: Product) -> Outcome:
    """Return what a step that went well makes of the product."""
    return Outcome(STEPS[product.state].leads_to, 0, wait=False, reason=None)


def failed(product: Product, reason: str, final: bool) -> Outcome:
    """Return what a failed try makes of it: it waits for the next, or has failed for good."""
    step = STEPS[product.state]
    attempts = product.attempts + 1
    if final or attempts > step.retries:
        tries = "refused" if final else f"{attempts} tries"
        return Outcome(State.FAILED, attempts, wait=False, reason=f"{step.name}, {tries}: {reason}"[:500])
    return Outcome(product.state, attempts, wait=True, reason=reason[:500])
