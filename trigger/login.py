"""Find address and login: from flags, a profile, the environment, or questions at a terminal."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from trigger.address import DEFAULT_URL, check_url
from trigger.errors import RequestRefused
from trigger.screen import Screen
from trigger.text import did_you_mean

if TYPE_CHECKING:
    from trigger.client import AirflowClient


EXPOSED = "on the command line stays in the shell's history and shows in the list of processes"


@dataclass(frozen=True)
class Login:
    """An address and a login. `ca` names a file of certificates."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca: str | None = None


def profiles_path() -> Path:
    """Return the path of the profiles: AIRFLOW_PROFILES, or a file in the user's configuration folder."""
    named = os.environ.get("AIRFLOW_PROFILES")
    return Path(named) if named else Path(click.get_app_dir("trigger_script")) / "profiles.toml"


def read_profiles(path: Path, warn: Callable[[str], None] = lambda _: None) -> dict[str, dict[str, str]]:
    """Return the profiles of a TOML file by name; none if there is no file. Raises RequestRefused."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise RequestRefused(f"the profiles in {path} can't be read: {error}") from None
    try:
        profiles = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RequestRefused(f"{path} is not TOML: {error}") from None
    known = ("url", "username", "password", "token", "ca")
    for name, profile in profiles.items():
        if not isinstance(profile, dict):
            raise RequestRefused(f"{path}: {name!r} stands outside of a profile such as [default]")
        for key, value in profile.items():
            if key not in known:
                raise RequestRefused(
                    f"{path}: profile {name!r} has an unknown key {key!r}{did_you_mean(key, known)}"
                )
            if not isinstance(value, str):
                raise RequestRefused(f"{path}: {key!r} of profile {name!r} is not a string")
        if {"password", "token"} & profile.keys() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            warn(f"others can read the secrets in {path}: chmod 600 {path}")
    return profiles


def find_login(context: click.Context, warn: Callable[[str], None]) -> Login:
    """Return address and login. The order is: flags, --profile, the environment, the profile `default`.

    Raises RequestRefused if they contradict each other.
    """
    names = ("url", "username", "password", "token", "ca")
    flags: dict[str, str] = {
        name: context.params[name]
        for name in names
        if context.params.get(name) and context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    }
    # All variables, even those that a flag overrides: user and address show whose password it is, and for which server.
    environment = {
        str(option.name): value
        for option in context.command.params
        if option.name in names
        and isinstance(option.envvar, str)
        and (value := os.environ.get(option.envvar))
    }
    if "token" in flags and {"username", "password"} & flags.keys():
        raise RequestRefused("--token says who asks: leave out --username and --password")
    if "password" in flags:
        warn(f"a password {EXPOSED}: set AIRFLOW_PASSWORD, use a profile, or leave it out to be asked")
    if "token" in flags:
        warn(f"a token {EXPOSED}: set AIRFLOW_TOKEN, or use a profile")
    chosen = context.params.get("profile")
    by_flag = context.get_parameter_source("profile") == ParameterSource.COMMANDLINE
    path = profiles_path()
    profiles = read_profiles(path, warn)
    if chosen and chosen not in profiles:
        raise RequestRefused(f"there is no profile {chosen!r} in {path}{did_you_mean(chosen, profiles)}")
    profile = dict(profiles.get(chosen or "default", {}))
    layers = [flags, profile, environment] if by_flag else [flags, environment, profile]
    url = check_url(next((layer["url"] for layer in layers if "url" in layer), DEFAULT_URL))
    if by_flag and "url" in profile and check_url(profile["url"]) != url:
        raise RequestRefused(f"--url {url} is not the address of profile {chosen!r}, {profile['url']}")
    for layer in (profile, environment):
        # Secrets are used only for the address in the same place.
        if "url" in layer and check_url(layer["url"]) != url:
            layer.clear()
    ca = next((layer["ca"] for layer in layers if "ca" in layer), None)
    who = next((i for i, layer in enumerate(layers) if {"token", "username", "password"} & layer.keys()), 0)
    if "token" in layers[who]:
        return Login(url, token=layers[who]["token"], ca=ca)
    username = next((layer["username"] for layer in layers[who:] if "username" in layer), None)
    password = next(
        (
            layer["password"]
            for layer in layers[who:]
            # A password that stands with another name belongs to that name.
            if "password" in layer and layer.get("username", username) == username
        ),
        None,
    )
    if password is not None and username is None:
        raise RequestRefused("there is a password but no username: give --username, or set AIRFLOW_USERNAME")
    return Login(url, username, password, ca=ca)


def connect(context: click.Context, screen: Screen) -> AirflowClient:
    """Return a client for the options, the environment and the profiles. Asks at the terminal for missing values."""
    from trigger.client import AirflowClient  # imports requests, which --help and --version do not need

    login = find_login(context, screen.warn)
    screen.hide(login.password, login.token)
    options = context.params
    # If standard input is the conf, it can't have answers to questions.
    asks = is_terminal() and "-" not in (options.get("conf"), options.get("file"))
    username = login.username
    if asks and username is None and login.token is None:
        username = click.prompt(f"User at {login.url}", err=True)

    def ask_password() -> str:
        password: str = click.prompt(f"Password of {username} at {login.url}", hide_input=True, err=True)
        screen.hide(password)
        return password

    host = urlsplit(login.url)
    if host.scheme == "http" and host.hostname not in ("localhost", "127.0.0.1", "::1"):
        screen.warn(f"{login.url} is not encrypted: who listens on the way can use what passes")
    return AirflowClient(
        login.url,
        username=username,
        password=login.password,
        token=login.token,
        ca=login.ca,
        connect_timeout=options["connect_timeout"],
        ask_password=ask_password if asks else None,
        trace=screen.trace,
    )


def is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()
