"""deploy/write_env.sh: secrets of the right size, each its own, for their owner alone, and drawn once."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from dotenv import dotenv_values

from tests.deploy.conftest import ROOT

EXAMPLE = ROOT / ".env.example"
HEX = dict(
    (name, int(size))
    for size, name in re.findall(r"^# generate hex (\d+)\n([A-Z_]+)=$", EXAMPLE.read_text(), re.MULTILINE)
)


def write(target: Path, example: Path = EXAMPLE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(ROOT / "deploy" / "write_env.sh"), str(example), str(target)],
        capture_output=True,
        text=True,
        check=False,
        # The caller's mask must not decide who reads passwords.
        umask=0,
    )


def values(path: Path) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}


@pytest.fixture
def env(tmp_path: Path) -> Path:
    assert write(tmp_path / ".env").returncode == 0
    return tmp_path / ".env"


def test_only_its_owner_reads_it(env: Path) -> None:
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert list(env.parent.iterdir()) == [env]


def test_secrets_have_their_size(env: Path) -> None:
    written = values(env)
    assert len(HEX) >= 10
    for name, size in HEX.items():
        assert re.fullmatch(rf"[0-9a-f]{{{2 * size}}}", written[name]), name
    assert len(bytes.fromhex(written["JWT_SECRET"])) == 64
    assert min(HEX.values()) >= 16
    token = Fernet(written["FERNET_KEY"]).encrypt(b"x")
    assert Fernet(written["FERNET_KEY"]).decrypt(token) == b"x"


def test_every_secret_is_another_one_on_every_machine(env: Path, tmp_path: Path) -> None:
    write(tmp_path / "other.env")
    secrets = [
        written[name]
        for written in (values(env), values(tmp_path / "other.env"))
        for name in [*HEX, "FERNET_KEY"]
    ]
    assert len(set(secrets)) == len(secrets) == 2 * (len(HEX) + 1)


def test_the_rest_is_the_example(env: Path) -> None:
    example, written = values(EXAMPLE), values(env)
    assert list(written) == list(example)
    for name in set(example) - set(HEX) - {"FERNET_KEY"}:
        assert written[name] == example[name]
    assert "# generate" not in env.read_text()
    assert all(example[name] == "" for name in [*HEX, "FERNET_KEY"])


def test_one_that_is_there_is_kept(env: Path) -> None:
    before = env.read_bytes(), env.stat().st_mtime_ns
    second = write(env)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert (env.read_bytes(), env.stat().st_mtime_ns) == before


def test_says_what_is_wrong_and_leaves_nothing_behind(tmp_path: Path) -> None:
    failed = write(tmp_path / ".env", example=tmp_path / "absent")
    assert failed.returncode == 1
    assert failed.stderr == f"{tmp_path / 'absent'} can't be read: run this in the project's folder\n"
    assert list(tmp_path.iterdir()) == []


def test_no_secret_is_printed(tmp_path: Path) -> None:
    said = write(tmp_path / ".env")
    assert said.stdout == f"Wrote {tmp_path / '.env'} with new secrets\n"
    assert said.stderr == ""


def test_make_up_writes_it_before_anything_starts() -> None:
    planned = subprocess.run(
        # `make test` hands its own settings down, by which this one would tell of folders.
        ["/usr/bin/env", "--unset=MAKEFLAGS", "--unset=MAKELEVEL", "make", "--dry-run", "up"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert planned[:2] == ["sh deploy/write_env.sh", "docker compose build"]
