"""Files of automations that tests write."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from time import time_ns

import pytest

from include.tarefas import catalog
from include.tarefas.catalog import TICK, Catalog, Module

IMPORT = "from include.tarefas import tarefa\n"


def folder(root: Path, **files: str) -> Catalog:
    """Write each file, with the decorator's import in front, and return the catalog of all of them."""
    for name, text in files.items():
        (root / f"{name}.py").write_text(IMPORT + dedent(text))
    return catalog.load(root)


def wait_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file count as one that was changed long ago."""
    monkeypatch.setattr(catalog, "time_ns", lambda: time_ns() + 2 * TICK)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of each file that is parsed from now on."""
    parsed = []
    parse = catalog._module

    def counted(path: Path, source: bytes) -> Module:
        parsed.append(path.stem)
        return parse(path, source)

    monkeypatch.setattr(catalog, "_module", counted)
    return parsed
