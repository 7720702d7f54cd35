"""Tokens of earlier calls, kept in files that only their owner can read."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path


class TokenCache:
    """Tokens of earlier calls: one file per address and user, which only its owner can read."""

    def __init__(self) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._folder = Path(base) / "trigger_script"

    def load(self, url: str, username: str | None, password: str | None) -> str | None:
        """Return a token that is still valid. If a password is given, the token must have been created with it."""
        path = self._path(url, username)
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                return None  # others could have read, or written, it
            kept = json.loads(path.read_text())
            token = str(kept["token"])
            # Otherwise a wrong password would work while the token of the right one is valid.
            if password is not None and not hmac.compare_digest(
                _fingerprint(password, bytes.fromhex(kept["salt"])), kept["password"]
            ):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return token if _expires(token) > time.time() + 5 else None

    def store(self, url: str, username: str | None, password: str | None, token: str) -> None:
        """Store a token. If the file can't be written, the next call requests a new token."""
        salt = secrets.token_bytes(16)
        kept = {"token": token, "salt": salt.hex(), "password": _fingerprint(password or "", salt)}
        if not self._folder.is_absolute():
            return  # "~" could not be expanded, as in some containers
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Created with mode 0600 and then renamed, so that nobody reads half of it.
            with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False) as file:
                json.dump(kept, file)
            Path(file.name).replace(self._path(url, username))

    def _path(self, url: str, username: str | None) -> Path:
        name = hashlib.sha256(f"{url}\n{username or ''}".encode(errors="surrogateescape")).hexdigest()
        return self._folder / f"{name[:32]}.json"


def _fingerprint(password: str, salt: bytes) -> str:
    """Return a hash of the password that is too expensive for guessing it."""
    return hashlib.scrypt(password.encode(errors="surrogateescape"), salt=salt, n=2**14, r=8, p=1).hex()


def _expires(token: str) -> float:
    """Return when a token expires, in seconds since 1970. Only the server checks its signature."""
    try:
        payload = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (IndexError, ValueError, KeyError, TypeError, binascii.Error):
        return 0.0
