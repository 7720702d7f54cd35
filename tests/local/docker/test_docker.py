"""Those parts of `make test-docker` that can be tested without an engine."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from local.docker import __main__ as command
from local.docker import images, inside


def test_every_image_but_those_for_the_eye_has_a_stand_in() -> None:
    named = {image.split(":")[0] for image in images.named()}
    assert named - set(images.STAND_INS) == {"grafana/grafana", "jaegertracing/jaeger"}
    assert set(images.STAND_INS) <= named


@pytest.mark.parametrize(
    "name", sorted({stand_in.recipe for stand_in in images.STAND_INS.values()} | {"python"})
)
def test_a_stand_in_begins_with_the_projects_own_base(name: str) -> None:
    recipe = (images.RECIPES / name / "Dockerfile").read_text()
    assert recipe.startswith(f"FROM {images.BASE}:")
    assert "ARG " not in recipe


@pytest.mark.parametrize(("asked", "given"), [(262144, 20000), (1024, 1024)])
def test_a_container_may_open_as_many_files_as_the_machine_allows(
    tmp_path: Path, asked: int, given: int
) -> None:
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "$@"\n')
    wrapper = tmp_path / "wrapper"
    inside.write(
        wrapper, inside.LOWER_LIMITS.replace("{limit}", "20000").replace("/usr/sbin/runc", str(runc))
    )
    runc.chmod(0o755)
    limits = {"rlimits": [{"type": "RLIMIT_NOFILE", "hard": asked, "soft": asked}], "cwd": "/"}
    made, run = tmp_path / "bundle" / "config.json", tmp_path / "process"
    made.parent.mkdir()
    for file in (made, run):
        file.write_text(json.dumps(limits, separators=(",", ":")))
    for words in (("create", "--bundle", str(made.parent), "one"), ("exec", "--process", str(run), "one")):
        said = subprocess.run([wrapper, *words], check=True, capture_output=True, text=True).stdout
        assert said.split() == list(words)
    for file in (made, run):
        assert json.loads(file.read_text()) == {
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": given, "soft": given}],
            "cwd": "/",
        }


def test_without_an_engine_and_without_root_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="only root on Linux can start one: start Docker and try again"):
        command.main(["true"])
