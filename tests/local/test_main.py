"""The command line of the embedded deployment, without a deployment that runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from local.deployment.settings import Settings

ECHO = "import sys; print(sys.argv[1:])"


def local(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a deployment that does not run."""
    Settings.load(tmp_path)
    return tmp_path


def test_what_follows_the_command_of_env_belongs_to_it(folder: Path) -> None:
    theirs = ["--help", "--folder", "x", "-c", "--", "--wait"]
    done = local("env", "--folder", str(folder), "python", "-c", ECHO, *theirs)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{theirs}\n"


def test_an_unknown_option_before_the_command_of_env_is_refused(folder: Path) -> None:
    done = local("env", "--foldr", str(folder), "python", "-c", ECHO)
    assert done.returncode == 2
    assert "No such option '--foldr'" in done.stderr
