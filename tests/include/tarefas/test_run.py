"""What the worker does: checks again, imports one file, calls the function itself, keeps what it returns."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from include.conventions.failures import about
from include.tarefas import importing, run
from include.tarefas.errors import CatalogError, RequestError, ResultError
from include.tarefas.request import resolve
from tests.include.tarefas.files import IMPORT, folder


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of automations of this test."""
    monkeypatch.setenv("AUTOMACOES_MODULES_PATH", str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(importing.NAMESPACE):
            del sys.modules[name]


def call(task: str, *args: Any, **kwargs: Any) -> Any:
    return run.execute({"tarefa": task, "args": list(args), "kwargs": kwargs})


def test_the_result_comes_back_as_json_has_it(files: Path) -> None:
    folder(files, one="@tarefa\ndef one(*values, **named): return values, named, {1: None}\n")
    heard: list[str] = []
    conf = {"tarefa": "one", "args": [1, "é"], "kwargs": {"a": [True]}}
    assert run.execute(conf, heard.append) == [[1, "é"], {"a": [True]}, {"1": None}]
    assert heard == ["one.one"]


def test_a_file_may_be_called_like_one_of_pythons(files: Path) -> None:
    import email

    folder(files, email="@tarefa\ndef send(): return __name__\n")
    assert call("email.send") == "automacoes.email"
    assert sys.modules["email"] is email


@pytest.mark.parametrize(
    ("imported", "decorator"),
    [
        ("from include.automations import tarefa", "tarefa"),
        ("from include.automations.task import tarefa", "tarefa"),
        ("from include import automations", "automations.tarefa"),
        ("import include.automations", "include.automations.tarefa"),
        ("import include.automations.task as t", "t.tarefa"),
    ],
)
def test_a_file_that_imports_by_the_name_of_before_goes_on(
    files: Path, imported: str, decorator: str
) -> None:
    (files / "one.py").write_text(f"{imported}\n\n@{decorator}\ndef one(): return 1\n")
    assert call("one.one") == 1


def test_what_a_file_of_before_raises_and_asks_is_the_same(files: Path) -> None:
    (files / "one.py").write_text(
        "from include.automations import settings, tarefa\n"
        "from include.automations.errors import RequestError\n"
        "@tarefa\ndef one(): return str(settings.load().modules_path)\n"
        "@tarefa\ndef refused(): raise RequestError('not like this')\n"
    )
    assert call("one.one") == str(files)
    with pytest.raises(RequestError, match="not like this"):
        call("one.refused")


def test_a_changed_file_is_read_again_and_nothing_is_cached(files: Path) -> None:
    folder(files, one="@tarefa\ndef one(): return 1\n")
    stamp = (files / "one.py").stat()
    assert call("one.one") == 1
    folder(files, one="@tarefa\ndef one(): return 2\n")
    # As many bytes, at the same time: what a bytecode cache would take for the same file.
    os.utime(files / "one.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert call("one.one") == 2
    assert [path.name for path in files.iterdir()] == ["one.py"]


def test_what_is_executed_is_what_was_checked(files: Path) -> None:
    known = folder(files, one="@tarefa\ndef one(): return 'checked'\n")
    (files / "one.py").write_text(IMPORT + "@tarefa\ndef one(): return 'swapped'\n")
    with importing.Files(known):
        assert run.find(resolve({"tarefa": "one"}, known), known)() == "checked"


def test_dataclasses_and_future_annotations_work(files: Path) -> None:
    (files / "one.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass, asdict\n"
        "from datetime import date\nfrom include.tarefas import tarefa\n"
        "@dataclass\nclass Point:\n    x: int\n"
        "@tarefa\ndef one(day: date, point: Point): return [day.isoformat(), type(day).__name__, asdict(point)]\n"
    )
    assert call("one.one", "2026-01-02", {"x": 3}) == ["2026-01-02", "date", {"x": 3}]
    with pytest.raises(RequestError, match=r'one\.one: day can\'t be "soon": .*date'):
        call("one.one", "soon", {"x": 3})
    with pytest.raises(RequestError, match=r"point can't be .*: x: .*integer"):
        call("one.one", "2026-01-02", {"x": "3"})


def test_arguments_are_held_to_the_real_signature(files: Path) -> None:
    folder(
        files,
        one="""
        from decimal import Decimal
        from enum import Enum
        from pathlib import Path
        class Color(Enum):
            RED = "red"
        class Opaque: ...
        @tarefa
        def one(a: Decimal = None, b: tuple[int, ...] = (), c: Color = None, d: Opaque = None, *e: Path, **f: bytes):
            return [str(a), type(b).__name__, c and c.name, [str(x) for x in e], {k: v.decode() for k, v in f.items()}]
        """,
    )
    assert call("one.one") == ["None", "tuple", None, [], {}]
    assert call("one.one", "1.10", [1, 2], "red") == ["1.10", "tuple", "RED", [], {}]
    assert call("one.one", f="x")[-1] == {"f": "x"}
    with pytest.raises(RequestError, match=r"b can't be \[\"1\"\]: 0: .*integer"):
        call("one.one", b=["1"])
    with pytest.raises(RequestError, match=r"c can't be \"blue\": .*'red'"):
        call("one.one", c="blue")
    with pytest.raises(RequestError, match="d is a Opaque, which no JSON value can be"):
        call("one.one", d={})
    with pytest.raises(RequestError, match="d is a Opaque"):
        call("one.one", "1", [], "red", None)


def test_an_annotation_that_only_a_type_checker_sees_is_named(files: Path) -> None:
    (files / "one.py").write_text(
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        "from include.tarefas import tarefa\nif TYPE_CHECKING:\n    from datetime import date\n"
        "@tarefa\ndef one(day: date): ...\n"
    )
    with pytest.raises(RequestError, match=r"an annotation can't be understood while it runs: .*date"):
        call("one.one", "2026-01-01")


@pytest.mark.parametrize("annotation", ["foo bar", "int.nope", "nobody"])
def test_an_annotation_that_means_nothing_is_no_reason_to_try_again(files: Path, annotation: str) -> None:
    folder(files, one=f"@tarefa\ndef one(a: {annotation!r}): ...\n")
    with pytest.raises(RequestError, match="an annotation can't be understood while it runs"):
        call("one.one", 1)


@pytest.mark.parametrize(
    "trick",
    [
        # What only running the file brings about.
        "import os\nglobals()['one'] = os.system",
        "def other(): ...\nglobals()['one'] = other",
        "@tarefa\ndef other(): ...\nglobals()['one'] = other",
        "def swap():\n    global one\n    one = print\nswap()",
        "del globals()['one']",
        "one.__name__ = 'two'",
        "import functools\nglobals()['one'] = functools.wraps(one)(lambda *a, **k: 5)",
        "from include.automacoes.hello_world import send_hello_world as other\nglobals()['one'] = other",
    ],
)
def test_a_name_that_means_something_else_once_it_runs_is_refused(files: Path, trick: str) -> None:
    folder(files, one=f"@tarefa\ndef one(command=''): raise AssertionError\n{trick}\n")
    with pytest.raises(RequestError, match=r"one\.one is no longer the function that @tarefa decorates"):
        call("one.one")


def test_a_look_alike_of_the_decorator_registers_nothing(files: Path) -> None:
    source = "@tarefa\ndef one(): raise AssertionError\n"
    known = folder(files, one=source)
    fake = f"def tarefa(function):\n    function.__tarefa__ = True\n    return function\n{source}".encode()
    # As if the look-alike had got past the reading of the source.
    known.modules[0] = replace(known.modules[0], source=fake)
    with pytest.raises(RequestError, match="no longer the function"), importing.Files(known):
        run.find(resolve({"tarefa": "one"}, known), known)
    (files / "one.py").write_bytes(fake)
    with pytest.raises(RequestError, match="there is no tarefa"):
        call("one")


@pytest.mark.parametrize(
    "conf",
    [
        {"tarefa": "os.system", "args": ["true"]},
        {"module": "os", "function": "system", "args": ["true"]},
        {"module": "../outside", "function": "one"},
        {"module": "outside", "function": "one"},
        {"module": "link", "function": "one"},
        {"module": "inside", "function": "helper"},
        {"module": "inside", "function": "system"},
        {"module": "inside", "function": "send_hello_world"},
        {"module": "inside", "function": "__import__"},
        {"module": "__init__", "function": "one"},
        {"tarefa": "inside.one.__globals__"},
        {"tarefa": "inside.one", "args": ["surplus"]},
        {"tarefa": "inside.one", "queue": "urgent"},
        {},
        None,
    ],
    ids=json.dumps,
)
def test_the_worker_imports_nothing_for_a_call_that_makes_no_sense(
    files: Path, monkeypatch: pytest.MonkeyPatch, conf: Any
) -> None:
    witness = files / "witness"
    text = f"open({str(witness)!r}, 'w').close()\n@tarefa\ndef one(): ...\n"
    inside = files / "inside"
    inside.mkdir()
    folder(files, outside=text)
    folder(
        inside,
        inside=f"{text}from os import system\n"
        "from include.automacoes.hello_world import send_hello_world\ndef helper(): ...\n",
        __init__=text,
    )
    (inside / "link.py").symlink_to(files / "outside.py")
    monkeypatch.setenv("AUTOMACOES_MODULES_PATH", str(inside))
    with pytest.raises(RequestError):
        run.execute(conf)
    assert not witness.exists()
    assert not {name for name in sys.modules if name.startswith(f"{importing.NAMESPACE}.")}


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("object()", "Object of type object is not JSON serializable"),
        ("{1, 2}", "type set is not JSON"),
        ("float('nan')", "Out of range float"),
        ("'x' * 100_001", "bytes of JSON are more than 100,000"),
        ("'a\\0b'", r"U\+0000"),
        ("b'x'", "type bytes is not JSON"),
        ("{(1, 2): 3}", "keys must be str"),
    ],
)
def test_a_result_that_can_not_be_kept_is_no_reason_to_do_it_again(
    files: Path, expression: str, reason: str
) -> None:
    folder(files, one=f"@tarefa\ndef one(): return {expression}\n")
    with pytest.raises(
        ResultError, match=rf"one\.one did its work, but its result can't be kept: .*{reason}"
    ):
        call("one.one")


def test_what_the_function_raises_comes_through(files: Path) -> None:
    folder(
        files,
        one="""
        from pydantic import TypeAdapter
        from include.tarefas.errors import RequestError
        @tarefa
        def own(): TypeAdapter(int).validate_python("x")
        @tarefa
        def typed(): len(5)
        @tarefa
        def frozen():
            from dataclasses import dataclass
            @dataclass(frozen=True)
            class OwnError(Exception):
                code: int
            raise OwnError(5)
        @tarefa
        def refused(): raise RequestError("not like this")
        """,
        late="import nothing_of_this_name\n@tarefa\ndef one(): ...\n",
    )
    # Its own validation and its own TypeError are not taken for wrong arguments.
    with pytest.raises(ValueError, match="1 validation error"):
        call("one.own")
    with pytest.raises(TypeError, match="has no len") as error:
        call("one.typed")
    assert about(error.value) == "one.typed"
    with pytest.raises(Exception, match="5") as frozen:
        call("one.frozen")
    assert type(frozen.value).__name__ == "OwnError"
    with pytest.raises(RequestError, match="not like this"):
        call("one.refused")
    with pytest.raises(ModuleNotFoundError):
        call("late.one")


def test_without_the_folder_it_says_so(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMACOES_MODULES_PATH", str(files / "nothing"))
    with pytest.raises(CatalogError, match="AUTOMACOES_MODULES_PATH"):
        call("one.one")


LEAVES = {
    "str": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "int": st.integers(-(10**18), 10**18),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "None": st.none(),
    "Literal['a', 'b']": st.sampled_from(["a", "b"]),
}
VALUES = st.recursive(
    st.one_of(*LEAVES.values()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=3), inner, max_size=3
        )
    ),
    max_leaves=6,
)
ANNOTATIONS = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda inner: (
        inner.map(lambda one: f"list[{one}]")
        | inner.map(lambda one: f"dict[str, {one}]")
        | st.tuples(inner, inner).map(lambda two: f"Union[{two[0]}, {two[1]}]")
    ),
    max_leaves=4,
)


@given(annotation=ANNOTATIONS, value=VALUES)
@hypothesis(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_before_the_run_and_in_the_worker_the_same_values_pass(
    files: Path, annotation: str, value: object
) -> None:
    known = folder(
        files, one=f"from typing import Literal, Union\n@tarefa\ndef one(value: {annotation}): return value\n"
    )
    conf = {"tarefa": "one.one", "args": [value]}
    try:
        resolve(conf, known)
    except RequestError:
        passes = False
    else:
        passes = True
    # The worker's half alone: the same source, from which nothing is known of the types.
    [function] = known.functions
    untyped = replace(function, parameters=(replace(function.parameters[0], schema={}),))
    known.modules[0] = replace(known.modules[0], functions=(untyped,))
    unchecked = resolve(conf, known)
    try:
        with importing.Files(known):
            args, _ = run._arguments(unchecked, run.find(unchecked, known))
    except RequestError:
        assert not passes
    else:
        assert passes
        assert args == (value,)
