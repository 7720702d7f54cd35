"""A call is refused with what is wrong and what would be right, or taken as it is."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.tarefas import plain
from include.tarefas.catalog import Catalog
from include.tarefas.errors import RequestError
from include.tarefas.request import Call, resolve
from tests.include.tarefas.files import folder

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return folder(
        tmp_path_factory.mktemp("automations"),
        mail="""
        @tarefa
        def send_email(email: str, message: str): ...
        @tarefa
        def ping(): ...
        """,
        tools="""
        from typing import Literal
        @tarefa
        def ping(): ...
        @tarefa
        def many(first: int, /, *rest: int, level: Literal["a", 1] = "a", **named: list[str]): ...
        @tarefa
        def untyped(value): ...
        """,
        broken="def",
        empty="",
    )


@pytest.mark.parametrize(
    ("conf", "call"),
    [
        ({"tarefa": "send_email", "args": ["a", "b"]}, Call("mail", "send_email", ["a", "b"], {})),
        (
            {"tarefa": "mail.send_email", "kwargs": {"email": "a", "message": "b"}, "queue": "high"},
            Call("mail", "send_email", [], {"email": "a", "message": "b"}, "high"),
        ),
        (
            {"module": "mail", "function": "send_email", "args": ["a"], "kwargs": {"message": "b"}},
            Call("mail", "send_email", ["a"], {"message": "b"}),
        ),
        # As the form sends what nobody filled in.
        (
            {
                "tarefa": "tools.ping",
                "module": None,
                "function": None,
                "args": None,
                "kwargs": None,
                "queue": None,
            },
            Call("tools", "ping", [], {}),
        ),
        (
            {"tarefa": "many", "args": [1, 2], "kwargs": {"level": 1, "x": ["y"]}},
            Call("tools", "many", [1, 2], {"level": 1, "x": ["y"]}),
        ),
        ({"tarefa": "untyped", "args": [{"a": [None]}]}, Call("tools", "untyped", [{"a": [None]}], {})),
    ],
)
def test_a_call_that_makes_sense(known: Catalog, conf: dict[str, Any], call: Call) -> None:
    assert resolve(conf, known) == call
    assert resolve(call.conf(), known) == call
    assert call.conf() == {
        **{"tarefa": call.name, "args": call.args, "kwargs": call.kwargs, "queue": call.queue},
    }


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (5, r"a call is a JSON object with tarefa, module, .*, not 5"),
        ([], r"not \[\]"),
        ({}, r"say which automation: .*mail\.send_email"),
        ({"tarefas": "x"}, r'unknown key "tarefas" \(did you mean tarefa\?\)'),
        ({"tarefa": 5}, r"tarefa must be a name, not 5"),
        (
            {"tarefa": "send_mail"},
            r'no tarefa "send_mail" \(did you mean send_email\?\).*; broken can\'t be read',
        ),
        ({"tarefa": "ping"}, r'tarefa "ping" is in several modules: write mail\.ping, tools\.ping'),
        ({"tarefa": "mail.ping", "module": "mail"}, r"give either tarefa, or module and function"),
        ({"module": "mail"}, r"function is missing"),
        ({"function": "ping"}, r"module is missing"),
        (
            {"module": "mial", "function": "ping"},
            r'no module "mial" \(did you mean mail\?\); there are broken, ',
        ),
        (
            {"module": "mail", "function": "send_emial"},
            r'no tarefa "send_emial" \(did you mean send_email\?\)',
        ),
        ({"module": "empty", "function": "x"}, r"it has no function with @tarefa"),
        ({"tarefa": "broken.x"}, r"module broken can't be read: line 2: invalid syntax"),
        (
            {"tarefa": "mail.ping", "queue": "hihg"},
            r'queue "hihg" is not there \(did you mean high\?\); .* low',
        ),
        ({"tarefa": "mail.ping", "queue": ["low"]}, r"queue \[\"low\"\] is not there"),
        ({"tarefa": "mail.ping", "args": {}}, r"args must be a JSON list, not \{\}"),
        ({"tarefa": "mail.ping", "kwargs": []}, r"kwargs must be a JSON object, not \[\]"),
        ({"tarefa": "mail.ping", "args": [1]}, r"mail\.ping: too many positional arguments; it is ping\(\)"),
        ({"tarefa": "send_email"}, r"missing a required argument: 'email'; it is send_email\(email: str, "),
        (
            {"tarefa": "send_email", "kwargs": {"emial": "a", "message": "b", "email": "c"}},
            r"unexpected keyword argument 'emial' \(did you mean email\?\); it is",
        ),
        (
            {"tarefa": "send_email", "args": ["a", "b"], "kwargs": {"email": "c"}},
            r"multiple values .*'email'",
        ),
        ({"tarefa": "send_email", "args": ["a", 5]}, r"mail\.send_email: message must be str, not 5; it is"),
        ({"tarefa": "many", "args": [True]}, r"first must be int, not true"),
        ({"tarefa": "many", "args": [1.0]}, r"first must be int, not 1\.0"),
        ({"tarefa": "many", "args": [1, "2"]}, r"rest must be int, not \"2\""),
        ({"tarefa": "many", "kwargs": {"first": 1}}, r"'first'"),
        (
            {"tarefa": "many", "args": [1], "kwargs": {"level": "b"}},
            r"level must be Literal\['a', 1\], not \"b\"",
        ),
        ({"tarefa": "many", "args": [1], "kwargs": {"x": ["y", 2]}}, r"named must be .* \(at \[1\]\)"),
        ({"tarefa": "untyped", "args": [math.nan]}, r"can't be kept as JSON: Out of range float"),
        ({"tarefa": "untyped", "args": [math.inf]}, r"can't be kept as JSON"),
        ({"tarefa": "untyped", "args": ["\0"]}, r"U\+0000"),
        ({"tarefa": "untyped", "args": [{"\0": 1}]}, r"U\+0000"),
        ({"tarefa": "untyped", "args": ["\ud800"]}, r"lone surrogate"),
        ({"tarefa": "untyped", "args": ["x" * 100_000]}, r"bytes of JSON are more than 100,000"),
        # Nothing but files of the folder, and of those only what is registered.
        ({"tarefa": "os.system", "args": ["id"]}, r'no module "os"'),
        ({"module": "os", "function": "system"}, r'no module "os"'),
        ({"module": "../mail", "function": "ping"}, r'no module "\.\./mail"'),
        ({"module": "/etc/passwd", "function": "ping"}, r"no module"),
        ({"module": "mail.py", "function": "ping"}, r"no module"),
        ({"module": "include.tarefas", "function": "tarefa"}, r"no module"),
        ({"module": "__init__", "function": "x"}, r"no module"),
        ({"module": "mail", "function": "__class__"}, r"no tarefa"),
        ({"module": "mail", "function": "tarefa"}, r"no tarefa"),
        ({"module": "mail", "function": "send_email.__globals__"}, r"no tarefa"),
    ],
)
def test_a_call_that_makes_no_sense(known: Catalog, conf: object, message: str) -> None:
    with pytest.raises(RequestError, match=message) as error:
        resolve(conf, known)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("name", ["untyped", "tools.untyped"])
def test_the_largest_call_is_one_in_the_shape_that_is_stored_too(known: Catalog, name: str) -> None:
    """Or the worker would refuse what the service took."""
    room = plain.LARGEST - len(json.dumps([[""], None]))
    call = resolve({"tarefa": name, "args": ["x" * room]}, known)
    assert resolve(call.conf(), known) == call
    with pytest.raises(RequestError, match="more than 100,000"):
        resolve({"tarefa": name, "args": ["x" * (room + 1)]}, known)


def test_a_backslash_is_no_null(known: Catalog) -> None:
    assert resolve({"tarefa": "untyped", "args": ["\\u0000"]}, known).args == ["\\u0000"]


def test_what_is_nested_too_deeply_is_refused(known: Catalog) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RequestError, match="can't be kept as JSON"):
        resolve({"tarefa": "untyped", "args": deep}, known)


@given(
    conf=ANY_JSON
    | st.dictionaries(st.sampled_from(["tarefa", "module", "function", "args", "kwargs"]), ANY_JSON)
)
def test_any_json_is_taken_or_refused(known: Catalog, conf: object) -> None:
    try:
        call = resolve(conf, known)
    except RequestError:
        pass
    else:
        assert call.name in {function.task for function in known.functions}


@given(value=ANY_JSON)
def test_what_is_taken_can_be_kept(known: Catalog, value: object) -> None:
    try:
        call = resolve({"tarefa": "untyped", "args": [value]}, known)
    except RequestError:
        return
    kept = json.dumps(call.conf(), allow_nan=False).encode()
    assert json.loads(kept)["args"] == [value]


def test_there_may_be_no_automation_at_all(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r'no tarefa "x"; there are none'):
        resolve({"tarefa": "x"}, folder(tmp_path))
