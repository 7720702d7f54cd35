"""Address and login: flags, environment, profiles, prompts, expired tokens, and secrets, which are never printed."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tls import Authority
from tests.trigger.faulty import Faulty, answer, echo
from tests.trigger.recorded import Airflow
from tests.trigger.script import Done, Script
from tests.trigger.users import User

ASKED = ("--list", "--tag", "fast", "-o", "plain")


@pytest.fixture
def nobody(alone: Script, tmp_path: Path, url: str) -> Script:
    """The script with an address, its own home and cache, and no user."""
    return alone.having(HOME=tmp_path, AIRFLOW_API_URL=url)


@pytest.fixture
def somebody(nobody: Script, viewer: User) -> Script:
    """The same, as a user with few permissions."""
    return nobody.having(AIRFLOW_USERNAME=viewer.name, AIRFLOW_PASSWORD=viewer.password)


@pytest.fixture(scope="module")
def token(airflow: Airflow, viewer: User) -> str:
    """A valid token."""
    return airflow.token(viewer.name)


@pytest.fixture(scope="module")
def expired(airflow: Airflow, viewer: User) -> str:
    """The same token after its expiry."""
    return airflow.token(viewer.name, age=7200)


def cached(home: Path) -> list[Path]:
    return sorted((home / ".cache" / "trigger_script").iterdir())


def test_a_token_is_kept_for_its_owner_alone_and_used_again(somebody: Script, faulty: Faulty, tmp_path):
    way = somebody.having(AIRFLOW_API_URL=faulty.url)
    assert [way(*ASKED).code, way(*ASKED).code] == [0, 0]
    assert len(faulty.asked("POST", "/auth/token")) == 1
    [file] = cached(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    kept = file.read_text()
    assert somebody.environment["AIRFLOW_PASSWORD"] not in kept

    # A file that others may have written is not trusted.
    file.chmod(0o644)
    assert way(*ASKED).code == 0
    assert len(faulty.asked("POST", "/auth/token")) == 2
    [file] = cached(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_tokens_are_kept_per_address_and_user(somebody, operator, faulty, tmp_path):
    assert somebody(*ASKED).code == 0
    assert somebody.having(AIRFLOW_API_URL=faulty.url)(*ASKED).code == 0
    assert (
        somebody.having(AIRFLOW_USERNAME=operator.name, AIRFLOW_PASSWORD=operator.password)(*ASKED).code == 0
    )
    assert len(cached(tmp_path)) == 3


def test_the_cache_goes_where_the_desktop_says_and_is_no_need(somebody, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    assert somebody.having(XDG_CACHE_HOME=elsewhere)(*ASKED).code == 0
    assert len(list((elsewhere / "trigger_script").iterdir())) == 1
    blocked = tmp_path / "file"
    blocked.touch()
    done = somebody.having(XDG_CACHE_HOME=blocked)(*ASKED)
    assert (done.code, done.err) == (0, "")


def test_a_wrong_password_after_a_good_one_is_wrong(somebody):
    assert somebody(*ASKED).code == 0
    done = somebody.having(AIRFLOW_PASSWORD="wrong")(*ASKED)
    assert done.code == 4
    [line] = done.err.splitlines()
    assert line.startswith("error: ")
    assert somebody.environment["AIRFLOW_USERNAME"] in line
    assert somebody(*ASKED).code == 0


@pytest.mark.parametrize("broken", ["expired", "malformed"])
def test_a_kept_token_that_ended_is_renewed(somebody, faulty, tmp_path, expired, token, broken):
    """This includes tokens that only the server refuses, for example because of its clock or a new key."""
    way = somebody.having(AIRFLOW_API_URL=faulty.url)
    assert way(*ASKED).code == 0
    [file] = cached(tmp_path)
    kept = json.loads(file.read_text())
    if broken == "malformed":
        head, claims, _ = kept["token"].split(".")
        replaced = f"{head}.{claims}.AAAA"
    else:
        replaced = expired
    file.write_text(json.dumps({**kept, "token": replaced}))
    done = way(*ASKED)
    assert (done.code, done.err) == (0, "")
    assert json.loads(file.read_text())["token"] not in (replaced, kept["token"])
    assert len(faulty.asked("POST", "/auth/token")) == 2


def test_a_token_that_ends_while_it_is_used_is_renewed(somebody, faulty, url, expired):
    headers = {"Authorization": f"Bearer {expired}"}
    refusal = httpx.get(f"{url}/api/v2/dags", headers=headers)
    assert (refusal.status_code, refusal.json()["detail"]) == (401, "Token Expired")
    headers = {"Authorization": "Bearer a.b.c"}
    forbidden = httpx.get(f"{url}/api/v2/dags", headers=headers)
    assert (forbidden.status_code, forbidden.json()["detail"]) == (403, "Invalid JWT token")
    way = somebody.having(AIRFLOW_API_URL=faulty.url)
    for given in (refusal, forbidden):
        faulty.requests.clear()
        faulty.breaks("GET", "/api/v2/dags", answer(given.status_code, given.content))
        done = way(*ASKED)
        assert (done.code, done.out.split("\t")[0]) == (0, "quick"), done.err
        assert faulty.asked("POST", "/auth/token")


def test_a_given_token_is_used_as_it_is(nobody, token, expired, operator):
    done = {
        "environment": nobody.having(AIRFLOW_TOKEN=token)(*ASKED),
        "flag": nobody(*ASKED, "--token", token),
        "expired": nobody.having(AIRFLOW_TOKEN=expired)(*ASKED),
        "malformed": nobody.having(AIRFLOW_TOKEN="not.a.token")(*ASKED),
        "contradiction": nobody(*ASKED, "--token", token, "--username", operator.name),
    }
    assert {name: one.code for name, one in done.items()} == {
        "environment": 0,
        "flag": 0,
        "expired": 4,
        "malformed": 4,
        "contradiction": 2,
    }
    shown = "a token on the command line stays in the shell's history"
    assert [name for name, one in done.items() if shown in one.err] == ["flag"]
    assert "Token Expired" in done["expired"].err
    assert "Invalid JWT token" in done["malformed"].err
    assert not [name for name, one in done.items() if token in one.err or expired in one.err]


def test_without_anybody_it_says_what_to_give(nobody, viewer):
    done = {"nobody": nobody(*ASKED), "no_password": nobody(*ASKED, "--username", viewer.name)}
    assert [one.code for one in done.values()] == [4, 4]
    assert "--username" in done["nobody"].err
    assert "AIRFLOW_PASSWORD" in done["no_password"].err
    assert nobody.having(AIRFLOW_PASSWORD=viewer.password)(*ASKED).code == 2


def test_on_a_terminal_it_asks_and_shows_no_password(nobody, viewer):
    with nobody.terminal(*ASKED, piped=True) as terminal:
        terminal.expect("User at http://")
        terminal.type(viewer.name)
        terminal.expect(f"Password of {viewer.name}")
        terminal.type(viewer.password)
        written = terminal.piped()
        assert terminal.finish() == 0
    assert written.startswith("quick\t")
    assert viewer.password not in terminal.text


def test_ctrl_c_at_the_prompt_is_130(nobody):
    with nobody.terminal(*ASKED) as terminal:
        terminal.expect("User at http://")
        terminal.interrupt()
        assert terminal.finish() == 130


@pytest.mark.security
def test_a_password_on_the_command_line_works_and_is_warned_about(nobody, viewer):
    done = nobody(*ASKED, "--username", viewer.name, "--password", viewer.password)
    assert done.code == 0
    [line] = done.err.splitlines()
    assert line.startswith("warning: ")
    assert "AIRFLOW_PASSWORD" in line
    assert viewer.password not in line


def test_flags_win_over_the_environment(somebody, operator):
    done = somebody(
        *("--dag-id", "quick", "--run-id", "by-flag", "-o", "json"),
        *("--username", operator.name, "--password", operator.password),
    )
    assert done.code == 0, done.err
    assert done.json()["triggered_by"] == operator.name


class Profiles:
    """A file of profiles, and the script that uses it."""

    def __init__(self, script: Script, path: Path) -> None:
        self.path = path
        self.script = script.having(AIRFLOW_PROFILES=path, AIRFLOW_API_URL=None)

    def write(self, **profiles: dict[str, Any]) -> None:
        """Write the profiles, readable only by their owner."""
        tables = (
            f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in profile.items())
            for name, profile in profiles.items()
        )
        self.path.write_text("\n".join(tables))
        self.path.chmod(0o600)


def test_profiles_say_where_and_who(nobody, viewer, token, url, tmp_path):
    profiles = Profiles(nobody, tmp_path / "profiles.toml")
    user = {"url": url, "username": viewer.name, "password": viewer.password}
    profiles.write(default=user, token={"url": url, "token": token}, wrong={**user, "password": "wrong"})
    script = profiles.script
    assert script(*ASKED).code == 0
    assert script(*ASKED, "--profile", "token").code == 0
    assert script.having(AIRFLOW_PROFILE="token")(*ASKED).code == 0
    assert script(*ASKED, "--profile", "wrong").code == 4
    unknown = script(*ASKED, "--profile", "tokn")
    assert unknown.code == 2
    assert "did you mean 'token'?" in unknown.err

    profiles.path.chmod(0o644)
    warned = script(*ASKED)
    assert warned.code == 0
    assert f"warning: others can read the secrets in {profiles.path}" in warned.err

    home = tmp_path / ".config" / "trigger_script"
    home.mkdir(parents=True)
    profiles.path.chmod(0o600)
    profiles.path.rename(home / "profiles.toml")
    assert script.having(AIRFLOW_PROFILES=None)(*ASKED).code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a", "TOML"),
        ('url = "http://127.0.0.1"', "'url'"),
        ('[default]\nuser = "x"', "'user'"),
        ("[default]\nurl = 5", "'url'"),
    ],
)
@pytest.mark.security("command lines")
def test_profiles_that_make_no_sense_are_refused(nobody, tmp_path, text, said):
    path = tmp_path / "profiles.toml"
    path.write_text(text)
    done = nobody.having(AIRFLOW_PROFILES=path)(*ASKED, "--profile", "default")
    assert done.code == 2
    [line] = done.err.splitlines()
    assert str(path) in line
    assert said in line


@pytest.mark.security
def test_a_profiles_secrets_go_to_its_own_address_only(nobody, viewer, url, faulty, tmp_path):
    profiles = Profiles(nobody, tmp_path / "profiles.toml")
    profiles.write(default={"url": url, "username": viewer.name, "password": viewer.password})
    done = profiles.script(*ASKED, "--url", faulty.url)
    assert done.code == 4
    assert not [one for one in faulty.requests if viewer.password.encode() in one.body]


def test_an_address_that_is_none_is_refused(nobody):
    for url in ("localhost:8080", "ftp://127.0.0.1/", "http://", "http://user:pass@127.0.0.1"):
        done = nobody(*ASKED, "--url", url)
        assert done.code == 2, url
        assert done.err.splitlines()[-1].startswith("error: ")
        assert "pass@" not in done.err


def secrets_in(done: Done, *secrets: str) -> list[str]:
    return [secret for secret in secrets if secret in done.out or secret in done.err]


def test_verbose_prints_requests_and_no_secret(nobody, somebody, viewer, token, faulty):
    """Neither in the trace, nor in the error of a server that quotes the request."""
    calls = {
        "good": somebody(*ASKED, "--verbose"),
        "flags": nobody(*ASKED, "-v", "--username", viewer.name, "--password", viewer.password),
        "token": nobody(*ASKED, "-v", "--token", token),
        "wrong": somebody.having(AIRFLOW_PASSWORD=viewer.password[::-1])(*ASKED, "-v"),
    }
    assert {name: one.code for name, one in calls.items()} == {"good": 0, "flags": 0, "token": 0, "wrong": 4}
    assert "POST" in calls["good"].err
    assert "/auth/token -> 201" in calls["good"].err
    assert "/api/v2/dags" in calls["good"].err
    found = {
        name: secrets_in(done, viewer.password, viewer.password[::-1], token, token.split(".")[2], "eyJ")
        for name, done in calls.items()
    }
    assert found == {name: [] for name in calls}

    faulty.always_breaks("POST", "/auth/token", echo(500))
    faulty.always_breaks("GET", "/api", echo(400))
    echoed = {
        "password": somebody.having(AIRFLOW_API_URL=faulty.url)(*ASKED, "-v"),
        "token": nobody(*ASKED, "-v", "--url", faulty.url, "--token", token),
    }
    assert all(one.code != 0 for one in echoed.values())
    assert secrets_in(echoed["password"], viewer.password) == []
    assert secrets_in(echoed["token"], token) == []


@pytest.mark.security
def test_tls_is_verified_and_ca_names_whom_to_trust(somebody, encrypted, authority, tmp_path):
    script = somebody.having(AIRFLOW_API_URL=encrypted.url)
    refused = script(*ASKED)
    assert refused.code == 5
    [line] = refused.err.splitlines()
    assert "certificate" in line.lower()
    assert "--ca" in line
    assert encrypted.requests == []
    trusted = script(*ASKED, "--ca", authority.certificate)
    assert (trusted.code, trusted.err) == (0, "")
    # The environment's REQUESTS_CA_BUNDLE does not override --ca.
    bundled = script.having(REQUESTS_CA_BUNDLE=authority.certificate)
    assert bundled(*ASKED, "--ca", Authority(tmp_path, "another").certificate).code == 5
    missing = script(*ASKED, "--ca", tmp_path / "nothing.pem")
    assert missing.code == 2
    assert "nothing.pem" in missing.err
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("not a certificate")
    done = script(*ASKED, "--ca", wrong)
    assert done.code in (2, 5)
    assert len(done.err.splitlines()) == 1
