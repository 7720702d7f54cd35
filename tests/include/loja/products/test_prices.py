"""A price list's text, and what its lines mean: nothing guessed, each refusal by name and value."""

from __future__ import annotations

import re
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.loja.errors import ListError
from include.loja.products import prices
from include.loja.products.prices import Line, parse, propose

CATALOGUE = {1: Decimal("100.00"), 2: Decimal("10.00"), 3: Decimal("0.00")}
LIMIT = Decimal("0.2")


def decisions(*lines: tuple[str, str]) -> list[tuple[str, str | None]]:
    numbered = [Line(number, *line) for number, line in enumerate(lines, 1)]
    return [(proposal.decision, proposal.reason) for proposal in propose(numbered, CATALOGUE, LIMIT)]


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"produto_id,preco\n1,10.50\n2,7\n", "csv"),
        (b"\xef\xbb\xbfpreco;produto_id;obs\r\n10,50;1;x\r\n7;2;\r\n", "csv"),
        (b'[{"produto_id": 1, "preco": 10.50}, {"produto_id": "2", "preco": "7"}]', "json"),
        (b'{"precos": [{"produto_id": 1, "preco": "10.50"}, {"produto_id": 2, "preco": 7}]}', "json"),
    ],
)
def test_the_same_list_in_every_form(content: bytes, form: str) -> None:
    lines = parse(content, form)
    assert [(line.number, line.product, Decimal(line.price)) for line in lines] == [
        (1, "1", Decimal("10.50")),
        (2, "2", Decimal(7)),
    ]


def test_a_price_never_passes_through_a_float() -> None:
    [line] = parse(b'[{"produto_id": 1, "preco": 0.29999999999999999}]', "json")
    assert line.price == "0.29999999999999999"


@pytest.mark.parametrize(
    ("content", "form", "reason"),
    [
        (b"", "csv", "it lacks produto_id and preco"),
        (b"produto_id,price\n1,2\n", "csv", "the list has the columns 'produto_id', 'price'; it lacks preco"),
        (b"produto_id,preco\n", "csv", "the list has no prices"),
        (b'produto_id,preco\n1,"2\n', "csv", "is not CSV: unexpected end of data"),
        (b"produto_id,preco\n1,\xe7\n", "csv", "not UTF-8: byte 19 is 0xe7"),
        (b"[", "json", "the list is not JSON"),
        (b"[" * 100_000, "json", "the list is not JSON"),
        (b"{}", "json", "must be a JSON list"),
        (b"[]", "json", "has no prices"),
        (b"[1]", "json", "entry 1 of the list is a str; it must be an object"),
        (b'[{"produto_id": 1}]', "json", "it lacks preco"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_as_a_whole(content: bytes, form: str, reason: str) -> None:
    with pytest.raises(ListError, match=reason):
        parse(content, form)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_list_with_too_many_lines_is_not_read_to_its_end(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "MAX_LINES", 2)
    content = {
        "csv": b'produto_id,preco\n1,1\n2,2\n3,3\n4,"4\n',
        "json": b'[{"produto_id": 1, "preco": 1}, {}, {}, 1]',
    }
    with pytest.raises(ListError, match="the list has more than 2 lines: at most that many are accepted"):
        parse(content[form], form)


@pytest.mark.security("payloads")
def test_more_json_than_is_accepted_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MAX_JSON", 10)
    with pytest.raises(ListError, match="more than 10 characters of JSON: ask the supplier for CSV"):
        parse(b"[[],[],[],[],", "json")


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"[]," * 5_000_000 + b"[]]",
        b'[{"":1}' + b',{"":1}' * 600_000 + b"]",
        b"[" * 2_000_000,
        b'{"x": [' + b"1," * 2_000_000 + b'1], "precos": []}',
    ],
    ids=["lists", "objects", "nested", "beside the list"],
)
@pytest.mark.security("payloads")
def test_many_small_values_of_json_are_refused_before_they_take_memory(text: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ListError, match="more than 1000000 values of JSON: ask the supplier for CSV"):
            parse(text, "json")
        assert tracemalloc.get_traced_memory()[1] < 2 * len(text)
    finally:
        tracemalloc.stop()


def test_as_many_values_as_are_accepted() -> None:
    lines = parse(b"[" + b",".join([b'{"produto_id":1,"preco":2}'] * 1000) + b"]", "json")
    assert len(lines) == 1000


def test_a_message_quotes_little_of_the_list() -> None:
    with pytest.raises(ListError) as raised:
        parse(b",".join(b"SECRET_%d=" % n + b"x" * 1000 for n in range(100)), "csv")
    assert len(str(raised.value)) < 1200


def test_lines_are_applied_asked_about_or_named() -> None:
    assert decisions(("1", "120.00"), ("2", "12.01")) == [
        ("aplicar", None),
        ("aprovar", "a change of 20.1 %; more than 20 % needs a person's approval"),
    ]
    assert decisions(("1", "80"), ("2", "10.0")) == [("aplicar", None), ("igual", None)]
    assert decisions(("3", "1")) == [("aprovar", "a change from 0; more than 20 % needs a person's approval")]


@pytest.mark.parametrize(
    ("product", "price", "reason"),
    [
        ("9", "1", "produto_id is 9: the catalogue has no such product"),
        ("x", "1", "produto_id is 'x': it must be a whole number"),
        ("\u0661", "1", "must be a whole number"),
        ("1", "", "preco is '': it must be like 1234.50"),
        ("1", "1.259", "preco is '1.259': it must be like 1234.50"),
        ("1", "1,50", "preco is '1,50'"),
        ("1", "NaN", "preco is 'NaN'"),
        ("1", "1e3", "preco is '1e3'"),
        ("1", "0.00", "preco is 0.00: it must be above 0"),
        ("1", "-5", "preco is -5: it must be above 0"),
    ],
)
def test_a_wrong_line_is_named_and_the_others_stand(product: str, price: str, reason: str) -> None:
    (wrong, why), (right, _) = decisions((product, price), ("2", "11"))
    assert (wrong, right) == ("invalido", "aplicar")
    assert re.search(reason, why or "")


def test_two_prices_for_a_product_are_none() -> None:
    both = ("invalido", "the list gives 101.00, 102.00: it must give one price")
    assert decisions(("1", "101.00"), ("1", "102.00")) == [both, both]
    assert decisions(("1", "101"), ("1", "101.00")) == [
        ("aplicar", None),
        ("igual", "repeats an earlier line of the list"),
    ]


def test_many_prices_for_a_product_are_refused_in_few_words() -> None:
    found = decisions(*(("1", f"{price}.00") for price in range(101, 1101)))
    assert {decision for decision, _ in found} == {"invalido"}
    # What `precos_propostos.motivo` holds.
    assert max(len(reason or "") for _, reason in found) <= 500


@given(st.binary(max_size=300), st.sampled_from(["csv", "json"]))
def test_no_bytes_do_anything_but_parse_or_be_refused(content: bytes, form: str) -> None:
    try:
        lines = parse(content, form)
    except ListError:
        return
    for proposal in propose(lines, CATALOGUE, LIMIT):
        if proposal.decision != "invalido":
            assert proposal.product in CATALOGUE
            assert proposal.new is not None
            assert proposal.new > 0
