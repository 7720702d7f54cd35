"""Confinement by Landlock: which rules the kernel gets, and what a confined process can't do any more."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from local.servers.landlock import READ, WRITE, Access, LandlockError, confine

pytestmark = pytest.mark.security

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class FakeKernel:
    """Keeps what it is asked for; `refuses` names the call that fails."""

    abi: int = 7
    refuses: str = ""
    created: tuple[int, int, int] | None = None
    rules: dict[str, Access] = field(default_factory=dict)
    restricted: bool = False

    def _may(self, call: str) -> None:
        if call == self.refuses:
            raise OSError(errno.EPERM, "Operation not permitted")

    def version(self) -> int:
        self._may("version")
        return self.abi

    def create(self, access: int, network: int, scopes: int) -> int:
        self._may("create")
        self.created = (access, network, scopes)
        return os.open(os.devnull, os.O_RDONLY)

    def allow(self, ruleset: int, access: int, path: int) -> None:
        self._may("allow")
        self.rules[os.readlink(f"/proc/self/fd/{path}")] = Access(access)

    def restrict(self, ruleset: int) -> None:
        self._may("restrict")
        self.restricted = True


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest's own process may have more."""
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path=".": ["1"] if path == "/proc/self/task" else listed(path))


def test_folders_and_files_get_the_rights_that_they_can_have(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "data").mkdir()
    kernel = FakeKernel()
    assert confine([file, tmp_path, tmp_path / "missing", file / "below"], [tmp_path / "data"], kernel) == 7
    assert kernel.rules == {
        str(file): Access.READ_FILE,
        str(tmp_path): READ,
        str(tmp_path / "data"): WRITE,
    }
    assert kernel.restricted
    assert not WRITE & (Access.EXECUTE | Access.MAKE_CHAR | Access.MAKE_BLOCK | Access.MAKE_SOCK)


@pytest.mark.parametrize(
    ("abi", "last", "network", "scopes"),
    [
        (1, Access.MAKE_SYM, 0, 0),
        (2, Access.REFER, 0, 0),
        (3, Access.TRUNCATE, 0, 0),
        (4, Access.TRUNCATE, 1, 0),
        (5, Access.IOCTL_DEV, 1, 0),
        (6, Access.IOCTL_DEV, 1, 3),
        (9, Access.IOCTL_DEV, 1, 3),
    ],
)
def test_an_older_kernel_is_asked_for_nothing_that_it_does_not_know(
    tmp_path: Path, abi: int, last: Access, network: int, scopes: int
) -> None:
    kernel = FakeKernel(abi)
    assert confine([], [tmp_path], kernel) == abi
    known = (last << 1) - 1
    assert kernel.created == (known, network, scopes)
    assert not any(rule & ~known for rule in kernel.rules.values())


def test_a_kernel_without_it_confines_nothing_and_says_so(tmp_path: Path) -> None:
    kernel = FakeKernel(refuses="version")
    assert confine([], [tmp_path], kernel) == 0
    assert not kernel.restricted


@pytest.mark.parametrize("call", ["create", "allow", "restrict"])
def test_a_kernel_that_has_it_and_refuses_is_an_error(tmp_path: Path, call: str) -> None:
    with pytest.raises(LandlockError, match="does not confine this process: Operation not permitted"):
        confine([], [tmp_path], FakeKernel(refuses=call))


def test_threads_that_run_already_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: ["1", "2"])
    kernel = FakeKernel()
    with pytest.raises(LandlockError, match="2 threads are running"):
        confine([], [tmp_path], kernel)
    assert not kernel.restricted


TRIES = """
import os, pathlib, socket, subprocess, sys
from local.servers.landlock import confine
data, other = map(pathlib.Path, sys.argv[1:])
kept = other.open()
abi = confine([pathlib.Path(sys.base_prefix)], [data])

def tried(what):
    try:
        what()
    except PermissionError:
        return "refused"
    return "done"

(data / "link").symlink_to(other)
def bind(): socket.socket().bind(("127.0.0.1", 0))
print(abi, tried(other.read_text), tried((data / "link").read_text), tried(lambda: other.write_text("x")),
      tried(lambda: os.rename(other, data / "moved")), tried(lambda: os.kill(os.getppid(), 0)) if abi >= 6 else "refused",
      tried(bind) if abi >= 4 else "refused", tried(lambda: subprocess.run([sys.executable, "-V"])),
      tried(lambda: pathlib.Path("/proc/self/environ").read_bytes()),
      tried(lambda: (data / "new").write_text("x")), tried(lambda: os.rename(data / "new", data / "newer")), kept.read())
"""


def test_the_running_kernel_confines_a_process(tmp_path: Path) -> None:
    """Where it has Landlock; where it has not, everything is done and the version is 0."""
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    other.write_text("kept")
    ended = subprocess.run(
        [sys.executable, "-c", TRIES, str(data), str(other)], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    version, *tries, kept = ended.stdout.split()
    if version == "0":
        assert "refused" not in tries[:4]
        return
    assert tries == ["refused"] * 8 + ["done"] * 2
    assert (kept, other.read_text()) == ("kept", "kept")
