"""Fetch the supplier's price list from `LOJA_PRECOS_ORIGEM`, an http(s) address or a file.

The address is a setting and never part of a run's conf: a user who may trigger a run must not choose what is fetched.
"""

from __future__ import annotations

import errno
import os
import stat
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

    Raises ConfigurationError for an invalid origin, ListError for a list that is too large or refused by the supplier,
    SourceError when the supplier or the file can't be read now.
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
                "LOJA_PRECOS_ORIGEM contains a login, which logs would show: put it into the connection fornecedor_loja"
            )
        return _fetch(origin, credentials), form or _form(address.path)
    path = Path(origin)
    if not path.is_absolute():
        raise ConfigurationError(
            f"LOJA_PRECOS_ORIGEM is {origin!r}: it must be an http(s) address or an absolute path"
        )
    return _open(path), form or _form(path.name)


def shown(origin: str) -> str:
    """Return the origin for logs and tables: an address without its query, which may contain a token."""
    address = urlsplit(origin)
    if address.scheme not in ("http", "https"):
        return origin
    return address._replace(query="", fragment="").geturl()


def _form(name: str) -> str:
    suffix = name.rpartition(".")[2].lower()
    if suffix not in ("csv", "json"):
        raise ConfigurationError(
            f"the list's name {name!r} ends neither in .csv nor in .json: set LOJA_PRECOS_FORMATO to csv or json"
        )
    return suffix


def _open(path: Path) -> bytes:
    """Read a regular file. Otherwise, who may write into its folder could put a link to a secret of this machine there.

    The folders above it may be links: they are set by who sets this path.
    """
    try:
        # Without O_NONBLOCK, a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ListError(f"{path} is no regular file: put the list itself there")
            # A file that grows is cut off here as well.
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ListError(f"{path} has more than {MAX_BYTES} bytes; at most that many are accepted")
        return content
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ListError(f"{path} is a symbolic link: put the list itself there") from None
        # A SourceError is retried: the file may be there soon.
        raise SourceError(f"{path} can't be read: {error.strerror}") from None


def _fetch(address: str, credentials: tuple[str, str] | None) -> bytes:
    return tries(TRIES, SourceError)(_get, address, credentials)


def _get(address: str, credentials: tuple[str, str] | None) -> bytes:
    try:
        with requests.get(
            address, auth=credentials, timeout=SECONDS, stream=True, allow_redirects=False
        ) as answer:
            if answer.is_redirect:
                raise ListError(
                    f"{shown(address)} redirects to another address, which is not followed: ask the supplier for the "
                    "right one, and set LOJA_PRECOS_ORIGEM"
                )
            if answer.status_code >= 500 or answer.status_code == 429:
                raise SourceError(f"{shown(address)} answered {answer.status_code}")
            if answer.status_code != 200:
                raise ListError(f"{shown(address)} answered {answer.status_code}; it must answer 200")
            content = bytearray()
            for chunk in answer.iter_content(CHUNK):
                content += chunk
                if len(content) > MAX_BYTES:
                    raise ListError(
                        f"{shown(address)} sends more than {MAX_BYTES} bytes; at most that many are accepted"
                    )
            return bytes(content)
    except requests.RequestException as error:
        # A body shorter than its Content-Length raises one of these too, so half a list is never used.
        raise SourceError(f"{shown(address)} gave no answer: {type(error).__name__}") from None
