"""The image's files: clean for hadolint, and holding what the containers run and nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pathspec
import pytest

from tests.deploy.conftest import ROOT, Compose

DOCKERFILE = (ROOT / "Dockerfile").read_text()
# What a container does with the files: the policy, what prepares the database, the simulator, and every DAG.
USE_EVERYTHING = """
import json, sys
import airflow_local_settings, deploy.prepare, local.source.__main__
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1], safe_mode=False)
here = sys.argv[2]
foreign = [module.__file__ for name, module in sys.modules.items()
           if name.split(".")[0] in ("include", "local", "deploy", "trigger", "airflow_local_settings")
           and module.__file__ and not module.__file__.startswith(here)]
json.dump({"dags": sorted(bag.dags), "errors": bag.import_errors, "foreign": foreign}, open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository that .dockerignore lets through, as they come to stand in the image."""
    # Every pattern of the file is anchored or begins with **, and there the two notations mean the same.
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    assert all(re.match(r"$|#|\*$|!/|\*\*/", pattern) for pattern in patterns)
    ignored = pathspec.PathSpec.from_lines("gitignore", patterns)
    tracked = subprocess.run(
        ["/usr/bin/env", "git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    image = tmp_path_factory.mktemp("image")
    for name in tracked:
        if not ignored.match_file(name) and (ROOT / name).is_file():
            (image / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, image / name)
    (image / "airflow.cfg").touch()
    return image


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/otel-collector/Dockerfile"])
def test_hadolint_finds_nothing(name: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    result = subprocess.run([hadolint, ROOT / name], capture_output=True, text=True, check=False)
    assert (result.stdout, result.returncode) == ("", 0)


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN cd /tmp\n")
    hadolint = Path(sys.executable).parent / "hadolint"
    result = subprocess.run([hadolint, tmp_path / "Dockerfile"], capture_output=True, text=True, check=False)
    assert "DL3007" in result.stdout
    assert result.returncode != 0


def test_the_image_holds_what_runs_and_nothing_else(context: Path) -> None:
    found = {path.relative_to(context).parts[0] for path in context.rglob("*") if path.is_file()}
    assert found == {
        *("airflow.cfg", "config", "dags", "dbt", "deploy", "include", "local", "plugins", "trigger"),
        *("requirements.txt", "requirements-dbt.txt", "trigger_script.py"),
    }
    assert {path.name for path in (context / "deploy").iterdir()} == {"__init__.py", "prepare.py"}
    assert {path.name for path in (context / "local").iterdir()} == {"__init__.py", "source"}
    assert not [path for path in context.rglob(".*") if path.is_file() and path.name != ".airflowignore"]


def test_the_client_runs_on_what_the_image_holds(context: Path) -> None:
    help_ = subprocess.run(
        [sys.executable, "-P", str(context / "trigger_script.py"), "enqueue", "--help"],
        cwd=context,
        env={**os.environ, "PYTHONPATH": str(context), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "enqueue" in help_.stdout


def test_every_dag_runs_on_what_the_image_holds(context: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    subprocess.run(
        [sys.executable, "-P", "-c", USE_EVERYTHING, str(context / "dags"), str(context), str(answer)],
        cwd=tmp_path,
        env={
            **os.environ,
            "AIRFLOW_HOME": str(context),
            "PYTHONPATH": os.pathsep.join((str(context), str(context / "config"))),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        check=True,
        capture_output=True,
    )
    seen = json.loads(answer.read_text())
    assert seen["errors"] == {}
    assert seen["foreign"] == []
    expected = {
        dag
        for file in (ROOT / "dags").rglob("*.py")
        for names in re.findall(r"^(\w[\w, ]*)(?:\(\)$| = mirror_dags\()", file.read_text(), re.M)
        for dag in names.split(", ")
    }
    assert set(seen["dags"]) == expected


def test_it_runs_as_an_ordinary_user() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert users == ["50000"]
    assert set(re.findall(r"--chown=(\S+)", DOCKERFILE)) == {"50000:0"}


def test_no_secret_can_get_into_a_layer(compose: Compose) -> None:
    assert not re.search(r"^ARG |PASSWORD|SECRET|TOKEN", DOCKERFILE, re.MULTILINE)
    assert not [name for name in compose.variables if name in DOCKERFILE]


def test_base_image_and_servers_are_the_versions_of_the_tests(compose: Compose) -> None:
    locked = (ROOT / "requirements.txt").read_text()
    base = re.findall(r"^FROM apache/airflow:([\d.]+)-python3\.(\d+)$", DOCKERFILE, re.MULTILINE)
    assert [airflow for airflow, _ in base] == re.findall(r"^apache-airflow==(\S+) \\$", locked, re.MULTILINE)
    clickhouse = compose.services["clickhouse"]["image"].split(":")[1]
    assert clickhouse.split(".")[:2] == version("chdb-core").split(".")[:2]
    assert re.fullmatch(r"postgres:18\.\d+-bookworm", compose.services["metadata"]["image"])
    assert compose.services["source"]["image"] == compose.services["metadata"]["image"]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_has_hashes_and_none_names_an_index(name: str) -> None:
    text = (ROOT / name).read_text()
    pins = re.findall(r"^[A-Za-z0-9].*", text, re.MULTILINE)
    assert len(pins) > 200
    hashed = re.findall(
        r"^[A-Za-z0-9][^\n]*== *[^\n]* \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE
    )
    assert len(hashed) == len(pins)
    assert not re.search(r"^--|://", text, re.MULTILINE)
    assert "--require-hashes" in (
        DOCKERFILE if name == "requirements.txt" else (ROOT / "Makefile").read_text()
    )
