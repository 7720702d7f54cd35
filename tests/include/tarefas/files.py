"""Files of automations that tests write."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from include.tarefas import catalog
from include.tarefas.catalog import Catalog

IMPORT = "from include.tarefas import tarefa\n"


def folder(root: Path, **files: str) -> Catalog:
    """Write each file, with the decorator's import in front, and return the catalog of all of them."""
    for name, text in files.items():
        (root / f"{name}.py").write_text(IMPORT + dedent(text))
    return catalog.load(root)
