"""docs/settings.md lists every variable that the code reads, and nothing else reads the environment."""

from __future__ import annotations

from pathlib import Path

from include.settings import CHAPTERS, page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == page(), "run `make settings`"


def test_no_variable_is_declared_twice() -> None:
    names = [one.variable for _, _, groups in CHAPTERS for group in groups for one in group.listed()]
    assert len(names) == len(set(names))


def test_no_other_module_reads_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("include", "dags", "plugins", "config")
        for path in (ROOT / folder).rglob("*.py")
        if "os.environ" in path.read_text() or "getenv" in path.read_text()
    }
    # The mirror's may be handed another environment, which is this one otherwise. dbt inherits a few variables of it.
    assert readers == {
        *("include/airflow_mirror/settings.py", "include/conventions/settings.py", "include/marts/dbt.py"),
    }
