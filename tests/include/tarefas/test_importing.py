"""Files of automations that import other files of their folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.tarefas import importing, run
from include.tarefas.errors import RequestError
from include.tarefas.request import resolve
from tests.include.tarefas.files import folder

HELPER = "NUMBERS = []\ndef double(number): return 2 * number\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of automations of this test. Nothing of it stays imported."""
    monkeypatch.setenv("AUTOMACOES_MODULES_PATH", str(tmp_path))
    modules, finders = set(sys.modules), list(sys.meta_path)
    yield tmp_path
    assert sys.meta_path == finders
    assert not {name for name in set(sys.modules) - modules if name.startswith(importing.NAMESPACE)}
    assert "price_list" not in sys.modules


def call(task: str, *args: Any) -> Any:
    return run.execute({"tarefa": task, "args": list(args)})


@pytest.mark.parametrize(
    "statement",
    [
        "from price_list import double",
        "from .price_list import double",
        "from . import price_list; double = price_list.double",
        "import price_list; double = price_list.double",
        "from automacoes.price_list import double",
    ],
)
@pytest.mark.parametrize("where", ["at the top", "in the function"])
def test_a_file_may_use_another_of_the_folder(files: Path, statement: str, where: str) -> None:
    top, inside = (statement, "pass") if where == "at the top" else ("", statement)
    folder(
        files,
        price_list=HELPER,
        one=f"{top}\n@tarefa\ndef one(number: int):\n    {inside}\n    return double(number)\n",
    )
    assert call("one.one", 4) == 8


def test_both_forms_give_the_same_module(files: Path) -> None:
    folder(
        files,
        price_list=HELPER,
        two="import price_list\nprice_list.NUMBERS.append(2)\n",
        one="from . import price_list, two\n@tarefa\ndef one(): return price_list.NUMBERS\n",
    )
    assert call("one.one") == [2]
    # And each call begins anew.
    assert call("one.one") == [2]


def test_a_file_for_others_may_begin_with_an_underscore(files: Path) -> None:
    known = folder(
        files, _helper=HELPER, one="from ._helper import double\n@tarefa\ndef one(): return double(1)\n"
    )
    assert [module.name for module in known.modules] == ["one"]
    assert call("one.one") == 2


def test_files_may_import_each_other(files: Path) -> None:
    folder(
        files,
        one="import two\n@tarefa\ndef one(): return two.name()\ndef own(): return __name__\n",
        two="import one\ndef name(): return one.own()\n",
    )
    assert call("one.one") == "automacoes.one"


def test_the_bytes_that_were_read_are_executed_of_a_helper_too(files: Path) -> None:
    known = folder(
        files,
        price_list=HELPER,
        one="@tarefa\ndef one():\n    from price_list import double\n    return double(2)\n",
    )
    (files / "price_list.py").write_text("def double(number): return 'swapped'\n")
    with importing.Files(known):
        assert run.find(resolve({"tarefa": "one"}, known), known)() == 4
    assert call("one.one") == "swapped"


def test_python_and_installed_packages_come_first_but_a_bare_folder_does_not(
    files: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path_factory.mktemp("path")
    (path / "price_list").mkdir()
    (path / "colour_list.py").write_text("def double(number): return 'installed'\n")
    monkeypatch.syspath_prepend(str(path))
    folder(
        files,
        price_list=HELPER,
        colour_list=HELPER,
        calendar=HELPER,
        one="import calendar, colour_list, price_list\n@tarefa\ndef one(): "
        "return hasattr(calendar, 'double'), colour_list.double(1), price_list.double(1)\n",
    )
    monkeypatch.delitem(sys.modules, "colour_list", raising=False)
    assert call("one.one") == [False, "installed", 2]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("from .price_lst import double", "there is no file price_lst.py in the folder"),
        ("from .broken import double", "broken.py can't be imported: line 2: "),
        ("from broken import double", "broken.py can't be imported: line 2: "),
    ],
)
def test_a_file_that_is_not_there_or_broken_is_no_reason_to_try_again(
    files: Path, statement: str, said: str
) -> None:
    folder(files, price_list=HELPER, broken="def f(:\n", one=f"{statement}\n@tarefa\ndef one(): ...\n")
    with pytest.raises(RequestError, match=said):
        call("one.one")


def test_an_automation_of_another_file_is_not_called_by_this_files_name(files: Path) -> None:
    folder(files, two="@tarefa\ndef two(): ...\n", one="from .two import two\n@tarefa\ndef one(): ...\n")
    with pytest.raises(RequestError, match="has no tarefa"):
        call("one.two")
