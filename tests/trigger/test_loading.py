"""The script's start: as one file or beside its package, fast, and without a traceback at an early Ctrl-C."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.trigger.script import Script
from trigger import single

# Prints which of these modules a call has loaded.
LOADED = """
import json, runpy, sys
path, names = sys.argv[1], json.loads(sys.argv[2])
sys.argv = [path, *sys.argv[3:]]
try:
    runpy.run_path(path, run_name="__main__")
except SystemExit as done:
    assert not done.code, done.code
print(json.dumps([name for name in names if name in sys.modules]), file=sys.stderr)
"""
HEAVY = ["jsonschema", "requests", "tenacity", "yaml", "trigger.client"]


@pytest.fixture(params=["one file", "beside its package"])
def either(request: pytest.FixtureRequest, alone: Script) -> Script:
    """The script in both forms."""
    return alone if request.param == "one file" else Script(ROOT / "trigger_script.py", alone.environment)


def run(script: Script, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**script.environment, **variables}
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=script.path.parent, capture_output=True, text=True
    )


def test_nothing_of_the_repository_is_beside_the_one_file(alone: Script) -> None:
    assert not [path for path in alone.path.parent.iterdir() if path.is_dir() and path.name != "home"]
    done = run(alone, "-c", "import trigger_script, trigger.wire; print(trigger.wire.__file__)")
    assert done.stdout.strip() == f"{alone.path}/trigger.wire"


def test_the_one_file_says_what_it_needs() -> None:
    """It has a PEP 723 header, from which `uv run` and similar tools install its packages."""
    text = single.single()
    header = text[text.index("# /// script\n") : text.index("# ///\n")]
    assert 'requires-python = ">=3.11"' in header
    for name in ("click", "jsonschema", "PyYAML", "referencing", "requests", "rich", "tenacity"):
        assert f'"{name}"' in header


def test_make_trigger_single_writes_an_executable_file(tmp_path: Path) -> None:
    file = tmp_path / "dist" / "trigger_script.py"
    subprocess.run([sys.executable, "-m", "trigger.single", str(file)], cwd=ROOT, check=True)
    assert file.read_text() == single.single()
    assert file.stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["jobs", "add", "--help"]])
def test_help_and_version_load_no_more_than_they_need(either: Script, arguments: list[str]) -> None:
    done = run(either, "-c", LOADED, str(either.path), json.dumps([*HEAVY, "click"]), *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr) == ["click"]


@pytest.mark.parametrize("missing", ["click", "requests"])
def test_outside_of_its_environment_it_says_what_to_install(
    either: Script, tmp_path: Path, missing: str
) -> None:
    # As an interpreter without the package has it; requests is loaded when a command begins.
    (tmp_path / f"{missing}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{missing}'\", name='{missing}')\n"
    )
    done = run(either, str(either.path), "--list", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {sys.executable} has no package {missing}: pip install ")
    header = single.single().partition("# dependencies = ")[2].partition("\n")[0]
    assert f"pip install {' '.join(json.loads(header))}," in line


def test_the_door_alone_names_the_file_to_copy(tmp_path: Path) -> None:
    door = tmp_path / "trigger_script.py"
    door.write_text((ROOT / "trigger_script.py").read_text())
    done = run(Script(door, {}), str(door), "--list")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        " has no package trigger: copy the one file that make trigger-single writes\n"
    )


def test_ctrl_c_while_it_loads_ends_it_quietly(either: Script, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = run(either, str(either.path), "--list", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_all_that_it_offers_can_be_imported(either: Script) -> None:
    done = run(either, "-c", "import trigger_script as t; print([n for n in t.__all__ if not hasattr(t, n)])")
    assert done.stdout == "[]\n", done.stderr
