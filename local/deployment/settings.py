"""The ports and secrets of one deployment in a folder.

They are generated once, and stored in a file that only its owner can read, so that the next start can use the same data with
the same passwords.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from cryptography.fernet import Fernet

from local.servers.server import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_FOLDER = REPOSITORY / ".local"
FILE_NAME = "deployment.json"
# These may be missing in the file of an older version. They are generated then; no stored data depends on them.
LATER = {
    "operator_password",
    "viewer_password",
    "jobs_password",
    "agendador_password",
    "mariadb_port",
    "rabbitmq_port",
    "aws_port",
    "mariadb_password",
    "rabbitmq_password",
    "aws_secret_key",
    "reader_password",
    "redshift_password",
}


class SettingsError(Exception):
    """The settings file of a deployment can't be used. The message names the file and what to do."""


def _secret() -> str:
    # Hexadecimal: no character needs quoting in a URL or a shell.
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Settings:
    """Ports (all on 127.0.0.1) and secrets of the deployment in `folder` (absolute)."""

    folder: Path
    postgres_port: int = field(default_factory=free_port)
    clickhouse_port: int = field(default_factory=free_port)
    redis_port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    mariadb_port: int = field(default_factory=free_port)
    rabbitmq_port: int = field(default_factory=free_port)
    aws_port: int = field(default_factory=free_port)
    postgres_password: str = field(default_factory=_secret, repr=False)
    # Of the mirror's role in the source, and of the role that stands for Redshift.
    reader_password: str = field(default_factory=_secret, repr=False)
    redshift_password: str = field(default_factory=_secret, repr=False)
    clickhouse_password: str = field(default_factory=_secret, repr=False)
    redis_password: str = field(default_factory=_secret, repr=False)
    admin_password: str = field(default_factory=_secret, repr=False)
    operator_password: str = field(default_factory=_secret, repr=False)
    viewer_password: str = field(default_factory=_secret, repr=False)
    jobs_password: str = field(default_factory=_secret, repr=False)
    agendador_password: str = field(default_factory=_secret, repr=False)
    mariadb_password: str = field(default_factory=_secret, repr=False)
    rabbitmq_password: str = field(default_factory=_secret, repr=False)
    aws_secret_key: str = field(default_factory=_secret, repr=False)
    # The JWT secret signs every token with HMAC-SHA512, which needs 64 bytes.
    jwt_secret: str = field(default_factory=lambda: secrets.token_hex(64), repr=False)
    api_secret_key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    fernet_key: str = field(default_factory=lambda: Fernet.generate_key().decode(), repr=False)
    clickhouse_user: str = "airflow"
    admin_user: str = "admin"
    source_database: str = "vendas"
    metadata_database: str = "airflow"

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the settings stored in `folder`, or generate and store new ones.

        Raises SettingsError if the file can't be read as settings.
        """
        folder = folder.resolve()
        path = folder / FILE_NAME
        if not path.exists():
            settings = cls(folder=folder)
            settings.save()
            return settings
        try:
            kept = _checked(json.loads(path.read_text()))
            settings = cls(folder=folder, **kept)
            if len(kept) < len(fields(cls)) - 1:
                settings.save()
            return settings
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(
                f"{path} does not hold the settings of a deployment ({error}); restore it, or remove "
                f"{folder} with its data to start again"
            ) from error

    def save(self) -> None:
        """Write the settings in one step, to a file that only its owner can read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = asdict(self)
        del kept["folder"]
        unfinished = self.folder / f"{FILE_NAME}.new"
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(kept, file, indent=2)
        unfinished.replace(self.folder / FILE_NAME)

    def with_free_ports(self) -> Self:
        """Return settings with a new port for each one that another process uses now; store them if one has changed."""
        taken: dict[str, Any] = {
            item.name: free_port()
            for item in fields(self)
            if item.name.endswith("_port") and not _is_free(getattr(self, item.name))
        }
        if not taken:
            return self
        settings = replace(self, **taken)
        settings.save()
        return settings

    def dsn(self, database: str) -> str:
        """Return the libpq URI of a database on the deployment's PostgreSQL."""
        return f"postgresql://postgres:{self.postgres_password}@127.0.0.1:{self.postgres_port}/{database}"

    @property
    def source_dsn(self) -> str:
        """Return the libpq URI of the source database."""
        return self.dsn(self.source_database)

    @property
    def logs(self) -> Path:
        """Return the folder with one log file per process, and Airflow's own logs below it."""
        return self.folder / "logs"

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.logs / f"{name}.log"

    def data(self, name: str) -> Path:
        """Return the data folder of a server."""
        return self.folder / "data" / name

    @property
    def url(self) -> str:
        """Return the address of Airflow's user interface."""
        return f"http://127.0.0.1:{self.api_port}"


def _checked(kept: Any) -> dict[str, Any]:
    if not isinstance(kept, dict):
        raise TypeError("not a JSON object")
    types = {item.name: int if item.name.endswith("_port") else str for item in fields(Settings)}
    del types["folder"]
    for name in LATER - kept.keys():
        del types[name]
    for name, kind in types.items():
        if not isinstance(kept.get(name), kind):
            raise TypeError(f"{name} is missing or not of type {kind.__name__}")
    return {name: kept[name] for name in types}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Servers set this option too, so a port in TIME_WAIT after their own last run counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
