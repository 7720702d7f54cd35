"""What one try of a step makes of a pending product, without a database."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from include.loja.products.creation import (
    STEPS,
    NotYet,
    Product,
    Refused,
    State,
    done,
    failed,
    process,
    validate_stock,
)

PRODUCT = Product(1, State.PENDING, 0, "Camisa", "Roupas", Decimal("10.50"), 3)


def test_processing_gives_the_catalogues_form() -> None:
    raw = replace(PRODUCT, nome="  Camisa \t azul\n", categoria=" Roupas ", preco=Decimal("10.5000"))
    processed = process(raw)
    assert (processed.nome, processed.categoria, str(processed.preco)) == ("Camisa azul", "Roupas", "10.50")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nome": None}, "nome is None: it must not be empty"),
        ({"nome": " \t "}, "nome is"),
        ({"categoria": ""}, "categoria is '': it must not be empty"),
        ({"preco": None}, "preco is None: it must be above 0"),
        ({"preco": Decimal(0)}, "preco is 0: it must be above 0"),
        ({"preco": Decimal("-1")}, "preco is -1"),
        ({"preco": Decimal("10000000000.00")}, "at most 9999999999.99"),
        ({"preco": Decimal("1.005")}, "preco is 1.005: it must have at most two decimals"),
    ],
)
def test_content_that_is_wrong_is_refused_by_name_and_value(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        process(replace(PRODUCT, **change))


def test_a_missing_count_may_come_and_a_negative_one_is_wrong() -> None:
    with pytest.raises(NotYet, match="nobody has counted it yet"):
        validate_stock(replace(PRODUCT, estoque=None))
    with pytest.raises(Refused, match="estoque is -1: it must be at least 0"):
        validate_stock(replace(PRODUCT, estoque=-1))
    assert validate_stock(replace(PRODUCT, estoque=0)).estoque == 0


@pytest.mark.parametrize(("state", "tries"), [(State.PENDING, 4), (State.PROCESSED, 3), (State.VALIDATED, 4)])
def test_each_step_has_its_tries_and_then_the_product_has_failed(state: State, tries: int) -> None:
    product = replace(PRODUCT, state=state)
    for attempt in range(1, tries):
        outcome = failed(product, "not now", final=False)
        assert (outcome.state, outcome.attempts, outcome.wait) == (state, attempt, True)
        product = replace(product, attempts=outcome.attempts)
    outcome = failed(product, "not now", final=False)
    assert (outcome.state, outcome.wait) == (State.FAILED, False)
    assert outcome.reason == f"{STEPS[state].name}, {tries} tries: not now"


def test_what_is_refused_fails_at_once() -> None:
    outcome = failed(PRODUCT, "preco is -1", final=True)
    assert (outcome.state, outcome.reason) == (State.FAILED, "processar, refused: preco is -1")


def test_the_steps_lead_to_the_catalogue_each_with_tries_of_its_own() -> None:
    product = replace(PRODUCT, attempts=2)
    seen = []
    while product.state in STEPS:
        outcome = done(product)
        assert outcome.attempts == 0
        product = replace(product, state=outcome.state)
        seen.append(product.state)
    assert seen == [State.PROCESSED, State.VALIDATED, State.CATALOGUED]
