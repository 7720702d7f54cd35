"""Debian's packages in a folder: unpacked completely or not at all, and only once for two calls at the same time."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.servers.debian import INSTALLED, DebianError, unpack

# A small package that needs only the C library, and that no base image contains.
PACKAGE = "hello"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("debian")


@pytest.fixture(scope="module")
def status(folder: Path) -> Path:
    """dpkg's list of the machine's packages, without this package."""
    entries = INSTALLED.read_text().split("\n\n")
    path = folder / "status"
    path.write_text("\n\n".join(entry for entry in entries if not entry.startswith(f"Package: {PACKAGE}\n")))
    return path


def test_a_package_runs_from_where_it_was_unpacked_once(folder: Path, status: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: unpack(folder / "trees", [PACKAGE], status), range(2))
    assert one == other
    said = subprocess.run(
        [one.program("/usr/bin/hello")], env=one.environment(), check=True, capture_output=True, text=True
    )
    assert said.stdout == "Hello, world!\n"
    assert sorted(path.name for path in (folder / "trees").iterdir()) == ["hello", "lock"]


@pytest.mark.soak
def test_a_package_of_another_release_uses_its_own_libraries(folder: Path) -> None:
    tree = unpack(folder / "releases", [PACKAGE], release="trixie")
    command = [tree.program("/usr/bin/hello")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "Hello, world!\n"
    traced = {**os.environ, **tree.environment(), "LD_TRACE_LOADED_OBJECTS": "1"}
    listed = subprocess.run(command, env=traced, check=True, capture_output=True, text=True).stdout
    loaded = re.findall(r"(/\S+) \(0x", listed)
    assert any("libc.so" in path for path in loaded)
    assert [path for path in loaded if not path.startswith(f"{tree.root}/")] == []


def test_an_unknown_package_is_refused_in_apts_words_and_leaves_nothing(folder: Path, status: Path) -> None:
    with pytest.raises(DebianError, match="Unable to locate package no-such-program"):
        unpack(folder / "none", ["no-such-program"], status)
    assert [path.name for path in (folder / "none").iterdir()] == ["lock"]


def test_without_apt_the_packages_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(DebianError, match="apt-get and dpkg-deb not found: hello come from Debian's archive"):
        unpack(folder / "elsewhere", [PACKAGE])
