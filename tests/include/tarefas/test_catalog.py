"""What counts as an automation is read from the source, and no file is executed for it."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.tarefas import catalog, settings
from include.tarefas.errors import CatalogError
from tests.include.tarefas.files import IMPORT, counting, folder, wait_a_tick

ONE = """
@tarefa
def one():
    pass
"""


def names(text: str, root: Path) -> list[str]:
    """Return the automations of a file without an import of ours."""
    (root / "file.py").write_text(dedent(text))
    return [function.name for function in catalog.load(root).functions]


def test_no_file_is_executed(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    before = set(sys.modules)
    known = folder(tmp_path, nosy=f"open({str(witness)!r}, 'w').close()\n{ONE}")
    assert [function.task for function in known.functions] == ["nosy.one"]
    assert not witness.exists()
    assert not {name for name in set(sys.modules) - before if "nosy" in name}


def test_a_function_says_what_it_takes(tmp_path: Path) -> None:
    known = folder(
        tmp_path,
        mail='''
        """About mail."""
        @tarefa
        def send(to: str, /, cc: list[str] = [], *rest: int, urgent: bool = False, **extra: float) -> None:
            """Send it."""
        ''',
    )
    [module] = known.modules
    [function] = module.functions
    assert function.doc == "Send it."
    assert (
        function.signature
        == "send(to: str, /, cc: list[str]=[], *rest: int, urgent: bool=False, **extra: float) -> None"
    )
    assert function.schema == {
        "type": "object",
        "properties": {"cc": {"type": "array", "items": {"type": "string"}}, "urgent": {"type": "boolean"}},
        "required": [],
        "additionalProperties": {"type": "number"},
    }
    assert [(one.name, one.required) for one in function.parameters] == [
        *(("to", True), ("cc", False), ("rest", False), ("urgent", False), ("extra", False)),
    ]


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("str", {"type": "string"}),
        ("None", {"type": "null"}),
        ("'int'", {"type": "integer"}),
        ("dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}}),
        ("str | None", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("typing.Optional[int]", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (
            "t.Union[int, str, bool]",
            {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "boolean"}]},
        ),
        ("L['a', 2, None]", {"enum": ["a", 2, None]}),
        ("typing.Annotated[str, 'a name']", {"type": "string"}),
        # JSON has no such type, or only running the file would tell.
        ("date", {}),
        ("date | None", {}),
        ("typing.Any", {}),
        ("list", {"type": "array"}),
        ("Own", {}),
        ("1 + 1", {}),
        ("'not python('", {}),
        ("L[b'x']", {}),
    ],
)
def test_annotations_become_schemas(tmp_path: Path, annotation: str, schema: dict[str, object]) -> None:
    known = folder(
        tmp_path,
        file=f"""
        import typing, typing as t
        from typing import Literal as L
        from datetime import date
        class Own: ...
        @tarefa
        def one(value: {annotation}): ...
        """,
    )
    assert known.functions[0].parameters[0].schema == schema


def test_a_name_that_the_file_gave_another_meaning_is_not_pythons(tmp_path: Path) -> None:
    known = folder(tmp_path, file="str = int\n@tarefa\ndef one(value: str): ...\n")
    assert known.functions[0].parameters[0].schema == {}


@pytest.mark.parametrize(
    ("imported", "decorator"),
    [
        ("from include.tarefas import tarefa", "tarefa"),
        ("from include.tarefas import tarefa as t", "t"),
        ("from include.tarefas.task import tarefa", "tarefa"),
        ("from include import tarefas", "tarefas.tarefa"),
        ("import include.tarefas", "include.tarefas.tarefa"),
        ("import include.tarefas as a", "a.tarefa"),
    ],
)
def test_the_decorator_counts_under_any_name(tmp_path: Path, imported: str, decorator: str) -> None:
    assert names(f"{imported}\n@{decorator}\ndef one(): ...\n", tmp_path) == ["one"]


@pytest.mark.parametrize(
    "text",
    [
        # Not ours, whatever it is called.
        "def tarefa(f): return f\n@tarefa\ndef one(): ...\n",
        "from other import tarefa\n@tarefa\ndef one(): ...\n",
        "from .automations import tarefa\n@tarefa\ndef one(): ...\n",
        "@tarefa\ndef one(): ...\n",
        "import include.tarefas as a\n@a.other\ndef one(): ...\n",
        "import other as include\n@include.tarefas.tarefa\ndef one(): ...\n",
        "from include.tarefas import tarefa\ntarefa = print\n@tarefa\ndef one(): ...\n",
        "from include.tarefas import tarefa\nfrom other import *\n@tarefa\ndef one(): ...\n",
        "from include.tarefas import tarefa\nif x:\n    from other import tarefa\n@tarefa\ndef one(): ...\n",
        # Not a function of the top level.
        "from include.tarefas import tarefa\nclass A:\n    @tarefa\n    def one(self): ...\n",
        "from include.tarefas import tarefa\ndef outer():\n    @tarefa\n    def one(): ...\n",
        "from include.tarefas import tarefa\nif True:\n    @tarefa\n    def one(): ...\n",
        "from include.tarefas import tarefa\n@tarefa\nclass one: ...\n",
        # Not decorated, or decorated elsewhere.
        "from include.tarefas import tarefa\ndef one(): ...\n",
        "from include.automacoes.hello_world import send_hello_world\n",
        "from os import system\nimport os\n",
        # Not public.
        "from include.tarefas import tarefa\n@tarefa\ndef _one(): ...\n",
        "from include.tarefas import tarefa\n@tarefa\ndef __one__(): ...\n",
    ],
)
def test_what_is_no_automation(tmp_path: Path, text: str) -> None:
    assert names(text, tmp_path) == []
    assert catalog.load(tmp_path).modules[0].error is None


@pytest.mark.parametrize(
    "rebinding",
    [
        "import os\none = os.system",
        "from os import system as one",
        "import one",
        "def one(): ...",
        "class one: ...",
        "del one",
        "if True:\n    one = print",
        "for one in []: ...",
        "with open('x') as one: ...",
        "try: ...\nexcept OSError as one: ...",
        "match 1:\n    case one: ...",
        "match []:\n    case [*one]: ...",
        "match {}:\n    case {**one}: ...",
        "(one := print)",
        "one: int = 5",
        "from os import *",
    ],
)
def test_a_name_that_means_something_else_in_the_end_is_left_out(tmp_path: Path, rebinding: str) -> None:
    assert folder(tmp_path, file=f"{ONE}\n{rebinding}\n").functions == []


@pytest.mark.parametrize(
    "later", ["[one for one in []]", "x = lambda one: one", "def f(one): one = 1", "one"]
)
def test_a_name_of_an_inner_scope_does_no_harm(tmp_path: Path, later: str) -> None:
    assert [function.name for function in folder(tmp_path, file=f"{ONE}\n{later}\n").functions] == ["one"]


def test_the_last_of_two_with_one_name_counts(tmp_path: Path) -> None:
    known = folder(tmp_path, file=f"{ONE}\n@tarefa\ndef one(value: str): ...\n")
    assert [function.signature for function in known.functions] == ["one(value: str)"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("def one(:", r"line 2: invalid syntax"),
        ("@tarefa()\ndef one(): ...", r"line 3: one has @tarefa with parentheses"),
        ("import functools\n@functools.cache\n@tarefa\ndef one(): ...", r"line 5: one has another decorator"),
        ("@tarefa\nasync def one(): ...", r"line 3: one is async"),
        ("@tarefa\ndef one(): yield 1", r"line 3: one is a generator"),
        ("x = '\0'", r"null bytes"),
    ],
)
def test_a_broken_file_says_so_and_breaks_no_other(tmp_path: Path, text: str, error: str) -> None:
    known = folder(tmp_path, broken=text, whole=ONE)
    assert [function.task for function in known.functions] == ["whole.one"]
    broken = known.module("broken")
    assert broken is not None
    assert broken.functions == ()
    with pytest.raises(AssertionError, match=error):
        raise AssertionError(broken.error)


def test_a_generator_inside_an_automation_is_its_own_business(tmp_path: Path) -> None:
    known = folder(tmp_path, file="@tarefa\ndef one():\n    def inner(): yield 1\n    return list(inner())\n")
    assert [function.name for function in known.functions] == ["one"]


def test_other_broken_files(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "no-name.py").write_text(ONE)
    (tmp_path / "large.py").write_text("#" * (catalog.LARGEST_FILE + 1))
    (tmp_path / "deep.py").write_text("x = " + "(" * 10_000)
    (tmp_path / "old.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\n")
    errors = {module.name: module.error for module in catalog.load(tmp_path).modules}
    assert errors.pop("old") is None
    assert set(errors) == {"latin", "no-name", "large", "deep"}
    assert all(errors.values())


@pytest.mark.parametrize(
    "source",
    [
        f"@tarefa\ndef h(a={'+'.join(['1'] * 3000)}): ...",
        "from typing import Literal\n@tarefa\ndef h(a: Literal[{[]}]): ...",
        "@tarefa\ndef h(a, a): ...",
        "@tarefa\ndef h(): ...\nreturn 1",
        "@tarefa\ndef h(): ...\nawait h()",
    ],
    ids=["a default of thousands", "an annotation that is no value", "an argument twice", "return", "await"],
)
def test_a_file_that_could_not_be_imported_takes_no_other_with_it(tmp_path: Path, source: str) -> None:
    known = folder(tmp_path, bad=source, good=ONE)
    bad, good = known.modules
    assert (bad.name, bad.functions) == ("bad", ())
    assert bad.error
    assert (good.error, len(good.functions)) == (None, 1)


def test_half_a_character_in_a_docstring_is_shown_as_such(tmp_path: Path) -> None:
    """From 3.13 on, Python itself can't compile such a file, and so nobody could run it."""
    [module] = folder(tmp_path, odd="@tarefa\ndef h():\n    '\\ud800'\n").modules
    if sys.version_info < (3, 13):
        assert module.functions[0].doc == r"\ud800"
    else:
        assert module.functions == ()
        assert r"'\ud800'" in str(module.error)


def test_only_files_of_the_folder_count(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    (inside / "below").mkdir(parents=True)
    outside.mkdir()
    folder(outside, secret=ONE)
    folder(inside / "below", deeper=ONE)
    known = folder(inside, real=ONE, _helper=ONE, __init__=ONE)
    (inside / "link.py").symlink_to(outside / "secret.py")
    (inside / "dangling.py").symlink_to(outside / "nothing.py")
    (inside / "circle.py").symlink_to(inside / "circle.py")
    (inside / "folder.py").mkdir()
    os.mkfifo(inside / "pipe.py")
    (inside / "text.txt").write_text(ONE)
    # Kubernetes mounts a ConfigMap like this.
    (inside / "mounted.py").symlink_to(inside / "below" / "deeper.py")
    assert [module.name for module in known.modules] == ["real"]
    assert [module.name for module in catalog.load(inside).modules] == ["mounted", "real"]


@pytest.mark.parametrize("name", ["nothing", "file.py"])
def test_a_folder_that_is_none_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.py").touch()
    with pytest.raises(CatalogError, match=rf"AUTOMACOES_MODULES_PATH: .*{name}"):
        catalog.load(tmp_path / name)


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_file_can_lie_in_the_folder(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    root = tmp_path_factory.mktemp("any")
    (root / "any.py").write_bytes(
        content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
    )
    [module] = catalog.load(root).modules
    assert module.functions == ()


def test_the_shipped_ones_are_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOMACOES_MODULES_PATH", raising=False)
    known = catalog.load(settings.load().modules_path)
    assert [module.error for module in known.modules] == [None] * 3
    assert [function.task for function in known.functions] == [
        *("hello_world.send_hello_world", "mail.send_email", "reports.generate_report"),
    ]
    assert all(function.doc for function in known.functions)


def test_signatures_are_no_markup(tmp_path: Path) -> None:
    known = folder(tmp_path, one="@tarefa\ndef one_two(*a: list[str], b='<b>`'): ...\n")
    assert known.markdown == r"- one.one\_two(\*a: list\[str\], b='\<b\>\`')"


def test_many_threads_read_it_at_once(tmp_path: Path) -> None:
    folder(tmp_path, sums=ONE + "".join(f"a{n} = [{n}, (lambda b: b + {n})]\n" for n in range(50)))

    def look_at_garbage(*_: object) -> None:
        """Let another thread in where the parser itself never would: while it allocates a tree."""
        time.sleep(0)

    gc.callbacks.append(look_at_garbage)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: catalog.load(tmp_path), range(40)))
    finally:
        gc.callbacks.remove(look_at_garbage)
    assert [module.error for known in found for module in known.modules] == [None] * 40


def test_only_what_has_changed_is_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = counting(monkeypatch)
    wait_a_tick(monkeypatch)
    folder(tmp_path, first=ONE, second=ONE, broken="def")
    assert catalog.load(tmp_path).modules == catalog.load(tmp_path).modules
    assert sorted(parsed) == ["broken", "first", "second"]
    parsed.clear()
    (tmp_path / "first.py").write_text(IMPORT + ONE.replace("one", "two"))
    assert [function.task for function in catalog.load(tmp_path).functions] == ["first.two", "second.one"]
    (tmp_path / "broken.py").unlink()
    (tmp_path / "third.py").write_text(IMPORT + ONE)
    assert [module.name for module in catalog.load(tmp_path).modules] == ["first", "second", "third"]
    assert parsed == ["first", "third"]


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def by_rename(file: Path, text: str) -> None:
    """As editors and deployments do it: another file takes the name."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.replace(file)


def by_link(file: Path, text: str) -> None:
    """As Kubernetes updates a ConfigMap: the link leads to another file."""
    other = file.with_suffix(f".{time.time_ns()}")
    other.write_text(text)
    link = file.with_suffix(".link")
    link.symlink_to(other)
    link.replace(file)


@pytest.mark.parametrize("write", [in_place, by_rename, by_link])
def test_a_file_of_the_same_size_and_time_is_seen_to_be_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, str], None]
) -> None:
    file = tmp_path / "file.py"
    write(file, IMPORT + ONE)
    before = file.stat()
    wait_a_tick(monkeypatch)
    assert [function.name for function in catalog.load(tmp_path).functions] == ["one"]
    time.sleep(0.02)  # longer than the kernel's clock takes for a step
    write(file, IMPORT + ONE.replace("one", "two"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert [function.name for function in catalog.load(tmp_path).functions] == ["two"]


def test_a_file_that_changes_twice_within_a_tick_is_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that counts whole hours, and so shows nothing of it."""
    hour = 3_600_000_000_000
    monkeypatch.setattr(catalog, "TICK", hour)
    monkeypatch.setattr(
        catalog, "_state", lambda found: (found.st_ino, found.st_size, found.st_ctime_ns // hour)
    )
    for name in ("one", "two", "six"):
        found = folder(tmp_path, file=ONE.replace("one", name)).functions
        assert [function.name for function in found] == [name]
    parsed = counting(monkeypatch)
    for _ in range(2):
        catalog.load(tmp_path)
    assert parsed == ["file", "file"], "what may still change unseen is not kept"
    later = time.time_ns() + 2 * hour
    monkeypatch.setattr(catalog, "time_ns", lambda: later)
    for _ in range(2):
        catalog.load(tmp_path)
    assert parsed == ["file"] * 3


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_a_tick(monkeypatch)
    folder(tmp_path, file=ONE)
    parse = catalog._module

    def slow(path: Path, source: bytes) -> catalog.Module:
        time.sleep(0.02)
        path.write_text(IMPORT + ONE.replace("one", "two"))
        return parse(path, source)

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "_known", {})
        patch.setattr(catalog, "_module", slow)
        assert [function.name for function in catalog.load(tmp_path).functions] == ["one"]
        patch.setattr(catalog, "_module", parse)
        assert [function.name for function in catalog.load(tmp_path).functions] == ["two"]


def test_a_file_that_could_not_be_opened_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_a_tick(monkeypatch)
    (tmp_path / "file.py").write_text(IMPORT + ONE)

    def fails(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fails)
        [module] = catalog.load(tmp_path).modules
    assert module.error == "it can't be read: Permission denied"
    assert [function.name for function in catalog.load(tmp_path).functions] == ["one"]


def test_many_threads_see_each_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread gets is one of the file's contents, and never an older one than it got before."""
    wait_a_tick(monkeypatch)
    ended = Event()

    def look(_: int) -> list[int]:
        seen = []
        while not ended.is_set():
            seen += [len(function.name) for function in catalog.load(tmp_path).functions]
        return seen

    by_rename(tmp_path / "file.py", IMPORT + ONE)
    with ThreadPoolExecutor(4) as pool:
        looking = pool.map(look, range(4))
        try:
            for number in range(1, 30):
                time.sleep(0.01)
                by_rename(tmp_path / "file.py", IMPORT + ONE.replace("one", "one" + number * "e"))
        finally:
            ended.set()
        for seen in looking:
            assert seen == sorted(seen)
    assert [len(function.name) for function in catalog.load(tmp_path).functions] == [32]
