"""What a run is given stays data: no file that Airflow loads has a way to turn it into code, a command or SQL."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.security

ROOT = Path(__file__).resolve().parents[2]
LOADED = ("dags", "include", "plugins", "config")
FILES = sorted(path for folder in LOADED for path in (ROOT / folder).rglob("*.py"))
SQL = sorted((ROOT / "include" / "sql").rglob("*.sql"))
# What runs a text as code, imports what a text names, or gives it to a shell.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "import_module", "import_string", "run_path", "run_module"),
    *("system", "popen", "getoutput", "getstatusoutput", "unsafe_load"),
}
# Files whose calls get no name from a conf. This one imports only files of the catalog, from the bytes that it has read.
ALLOWED = {"include/tarefas/importing.py": {"import_module"}}
# A conf in a template becomes part of whatever the template is: a command line, SQL, a path.
TEMPLATED = re.compile(r"\{\{[^}]*\b(dag_run|conf|params)\b[^}]*\}\}")


def calls_of_code(tree: ast.AST) -> list[str]:
    """Return the calls that a text could become code by, each with its line."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        # A compiled pattern is no code.
        pattern = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "re"
        shell = any(
            word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
            for word in node.keywords
        )
        if (name in FORBIDDEN and not pattern) or shell:
            found.append(f"line {node.lineno}: {name}")
    return found


def templated_texts(tree: ast.AST) -> list[str]:
    """Return the texts with a template that reads what the run was given."""
    return [
        f"line {node.lineno}: {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and TEMPLATED.search(node.value)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_becomes_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    allowed = ALLOWED.get(str(path.relative_to(ROOT)), set())
    assert [call for call in calls_of_code(tree) if call.split(": ")[1] not in allowed] == []
    assert templated_texts(tree) == []


@pytest.mark.parametrize("path", SQL, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_sql_is_put_together_from_a_conf(path: Path) -> None:
    assert not TEMPLATED.search(path.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "eval(context['dag_run'].conf['x'])",
        "importlib.import_module(conf['module'])",
        "import_string(conf['callable'])",
        "os.system(conf['command'])",
        "subprocess.run(conf['command'], shell=True)",
        "subprocess.run(conf['command'], shell=flag)",
        "BashOperator(task_id='a', bash_command='echo {{ dag_run.conf.x }}')",
        "SQLExecuteQueryOperator(sql='SELECT * FROM t WHERE a = {{ params.a }}')",
    ],
)
def test_what_these_tests_look_for_they_find(line: str) -> None:
    tree = ast.parse(line)
    assert calls_of_code(tree) or templated_texts(tree)
