"""The tests that docs/why-airflow.md names exist in the files that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "why-airflow.md").read_text()
HOME = "test_beyond_cron.py"


def defined(name: str) -> set[str]:
    """Return the functions of a test file: a path in the project, or a name in tests/e2e."""
    file = ROOT / name if "/" in name else ROOT / "tests" / "e2e" / name
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_page_names_is_there():
    named = re.findall(r"`(test_\w+)`(?: in `([\w/]+\.py)`)?", PAGE)
    assert len(named) > 10
    for test, file in named:
        assert test in defined(file or HOME), f"{test} is not in {file or HOME}"


def test_the_page_names_every_test_of_what_cron_lacks():
    assert {test for test in defined(HOME) if test.startswith("test_")} <= set(
        re.findall(r"`(test_\w+)`", PAGE)
    )
