"""Whatever the service answers: events come out whole, or are set aside by field and id; nothing else happens."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.ocorrencias.errors import ContractError
from include.ocorrencias.models import parse_atividades, parse_eventos, parse_pops
from tests.ocorrencias_service import event

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = sorted(event(1))


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
@example({"titulo": "\ud800"})
@example({"id": True})
@example({"latitude": float("nan")})
@example({"id": 10**400})
def test_one_bad_event_loses_no_other(changes: dict[str, Any]) -> None:
    found = parse_eventos({"eventos": [event(1), {**event(2), **changes}, event(3)]}, "ocorrencias")
    assert [one.id for one in found.eventos][:: len(found.eventos) - 1] == [1, 3]
    assert len(found.eventos) + len(found.recusados) == 3
    for one in found.eventos:
        json.dumps(one.model_dump(mode="json"), ensure_ascii=False).encode()
        assert "\n" not in one.titulo + one.bairro + one.status
    for refused in found.recusados:
        assert refused.campo in {*FIELDS, "event"}
        f"{refused} {refused.conteudo}".encode()


@given(JSON)
def test_any_answer_is_events_or_one_sentence(body: Any) -> None:
    for parse in (
        lambda: parse_eventos(body, "ocorrencias"),
        lambda: parse_eventos({"eventos": body}, "ocorrencias"),
        lambda: parse_pops(body),
        lambda: parse_pops({"retorno": "OK", "objeto": body}),
        lambda: parse_atividades(body, 4),
        lambda: parse_atividades({"atividades": body}, 4),
    ):
        try:
            parse()
        except ContractError as error:
            assert str(error).encode()  # noqa: PT017 - it may also not raise


@pytest.mark.parametrize(
    ("changes", "campo", "motivo"),
    [
        ({"latitude": 229.3}, "latitude", "less than or equal to 90, and is 229.3"),
        ({"pop_id": None}, "pop_id", "valid integer, and is None"),
        ({"status": "  "}, "status", "at least 1 character"),
        ({"inicio": "20/11/2026"}, "inicio", "a time of this century like .*, and is '20/11/2026'"),
        ({"inicio": 5}, "inicio", "must be a text like"),
        ({"longitude": None}, "event", "must both be there, or neither"),
        ({"anexos": "a.jpg"}, "anexos", "must be a list"),
        ({"titulo": "x" * 3000}, "titulo", "at most 2000 characters"),
        ({"informe_id": "sete"}, "informe_id", "valid integer"),
        ({"id": -1}, "id", "greater than or equal to 0"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_by_field_and_event(changes, campo, motivo):
    found = parse_eventos({"eventos": [{**event(7), **changes}]}, "ocorrencias")
    [one] = found.recusados
    assert (one.evento_id, one.campo) == (str(changes.get("id", 7)), campo)
    assert re.search(motivo, one.motivo)
    assert str(one).startswith(f"ocorrencias: event {one.evento_id}: {campo}: ")


def test_a_missing_field_is_named():
    body = event(7)
    del body["pop_id"]
    [one] = parse_eventos({"eventos": [body]}, "ocorrencias").recusados
    assert str(one) == "ocorrencias: event 7: pop_id: is missing"


def test_numbers_as_texts_and_places_that_are_none_are_taken():
    odd = event(1) | {"id": "12", "pop_id": 4.0, "latitude": "-22.9", "longitude": "-43.2", "informe_id": ""}
    nowhere = event(2) | {"latitude": 0, "longitude": 0.0}
    empty = event(3) | {"latitude": "", "longitude": None, "bairro": None, "titulo": " a\n b "}
    first, second, third = parse_eventos({"eventos": [odd, nowhere, empty]}, "x").eventos
    assert (first.id, first.pop_id, first.place, first.informe_id) == (12, 4, (-22.9, -43.2), None)
    assert second.place is third.place is None
    assert (third.bairro, third.titulo) == ("", "a b")
    assert first.inicio.isoformat() == "2026-11-20T08:15:00-03:00"


@pytest.mark.parametrize(
    "body",
    [
        {"eventos": [event(1), {"eventos": [event(2), {"eventos": [event(3)]}]}]},
        {"eventos": {"eventos": [event(1), event(2), event(3)]}},
        {"eventos": [{"eventos": {"eventos": [event(1), event(2)]}}, event(3)]},
    ],
)
def test_cached_days_are_unnested(body):
    assert [one.id for one in parse_eventos(body, "x").eventos] == [1, 2, 3]


def test_nesting_has_an_end():
    body: Any = [event(1)]
    for _ in range(9):
        body = [{"eventos": body}]
    with pytest.raises(ContractError, match="nested more than 5 times"):
        parse_eventos({"eventos": body}, "x")


def test_stale_answers_say_so_also_from_within():
    assert parse_eventos({"eventos": [], "error": "velho"}, "x").atraso == "velho"
    assert parse_eventos({"eventos": [{"eventos": [], "error": "velho"}]}, "x").atraso == "velho"
    assert parse_eventos({"eventos": [], "error": ""}, "x").atraso is None
    with pytest.raises(ContractError, match="no key eventos; it says sem conexão"):
        parse_eventos({"error": "sem conexão"}, "x")


def test_a_list_of_pops_is_ok_and_not_empty():
    assert parse_pops({"retorno": "OK", "objeto": [{"id": 4, "titulo": "A"}, {"id": "x"}]})[0] == {4: "A"}
    with pytest.raises(ContractError, match="retorno is 'ERRO': sem banco"):
        parse_pops({"retorno": "ERRO", "mensagem": "sem banco", "objeto": []})
    with pytest.raises(ContractError, match="empty"):
        parse_pops({"retorno": "OK", "objeto": []})
