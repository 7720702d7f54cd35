"""Where the supplier's price list comes from: an http(s) address or a file, as `LOJA_PRECOS_ORIGEM` says.

The address is a setting, never a run's conf: who may trigger a run must not make the deployment fetch what he names.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import requests

from include.conventions.errors import ConfigurationError
from include.conventions.retries import tries
from include.loja.errors import ListError, SourceError

MAX_BYTES = 64 * 1024 * 1024
SECONDS = (10, 60)
CHUNK = 1 << 16
TRIES = 4


def read(origin: str, form: str, credentials: tuple[str, str] | None) -> tuple[bytes, str]:
    """Return the list's bytes and its form, `csv` or `json`.

    Raises ConfigurationError for an origin that makes no sense, ListError for a list that is too large or that the
    supplier refuses to give, SourceError for one that can't be had now.
    """
    if not origin:
        raise ConfigurationError(
            "LOJA_PRECOS_ORIGEM is empty: it must be an http(s) address or an absolute path"
        )
    try:
        address = urlsplit(origin)
    except ValueError as error:
        raise ConfigurationError(f"LOJA_PRECOS_ORIGEM must be an http(s) address: {error}") from None
    if address.scheme in ("http", "https") and address.hostname:
        if address.username or address.password:
            raise ConfigurationError(
                "LOJA_PRECOS_ORIGEM holds a password, which logs would show: put it into the connection fornecedor_loja"
            )
        return _fetch(origin, credentials), form or _form(address.path)
    path = Path(origin)
    if not path.is_absolute():
        raise ConfigurationError(
            f"LOJA_PRECOS_ORIGEM is {origin!r}: it must be an http(s) address or an absolute path"
        )
    return _open(path), form or _form(path.name)


def shown(origin: str) -> str:
    """Return the origin without what may give access in an address, such as a token: for logs and tables."""
    address = urlsplit(origin)
    if address.scheme not in ("http", "https"):
        return origin
    return address._replace(query="", fragment="").geturl()


def _form(name: str) -> str:
    suffix = name.rpartition(".")[2].lower()
    if suffix not in ("csv", "json"):
        raise ConfigurationError(
            f"the list's name {name!r} ends neither in .csv nor in .json: say which it is in LOJA_PRECOS_FORMATO"
        )
    return suffix


def _open(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ListError(f"{path} has {path.stat().st_size} bytes; at most {MAX_BYTES} are taken")
        return path.read_bytes()
    except OSError as error:
        # It may be written in a moment.
        raise SourceError(f"{path} can't be read: {error.strerror}") from None


def _fetch(address: str, credentials: tuple[str, str] | None) -> bytes:
    return tries(TRIES, SourceError)(_get, address, credentials)


def _get(address: str, credentials: tuple[str, str] | None) -> bytes:
    try:
        with requests.get(address, auth=credentials, timeout=SECONDS, stream=True) as answer:
            if answer.status_code >= 500 or answer.status_code == 429:
                raise SourceError(f"{shown(address)} answered {answer.status_code}")
            if answer.status_code != 200:
                raise ListError(f"{shown(address)} answered {answer.status_code}; a list comes with 200")
            content = bytearray()
            for chunk in answer.iter_content(CHUNK):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise ListError(f"{shown(address)} gives more than {MAX_BYTES} bytes; no more are taken")
            return bytes(content)
    except requests.RequestException as error:
        # A body that ends before its Content-Length is one of these: half a list is no list.
        raise SourceError(f"{shown(address)} gave no answer: {type(error).__name__}") from None
