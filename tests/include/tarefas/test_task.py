"""The decorator: what it takes, and what it knows again."""

from __future__ import annotations

import pytest

from include.tarefas import tarefa
from include.tarefas.task import is_tarefa


def test_it_returns_the_function_itself_and_knows_it_again() -> None:
    def one() -> int:
        return 1

    assert tarefa(one) is one
    assert is_tarefa(one)


def test_a_mark_can_not_be_copied() -> None:
    @tarefa
    def one() -> None: ...

    def other() -> None: ...

    other.__dict__.update(one.__dict__)
    other.__name__ = one.__name__
    assert not is_tarefa(other)
    assert not is_tarefa(print)


async def coroutine() -> None: ...


def generator():
    yield 1


@pytest.mark.parametrize("wrong", [int, print, coroutine, generator, None, "text"])
def test_only_plain_functions_are_taken(wrong: object) -> None:
    with pytest.raises(TypeError, match="@tarefa is for plain functions"):
        tarefa(wrong)  # type: ignore[type-var]
    assert not is_tarefa(wrong)
