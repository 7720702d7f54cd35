"""Amazon's SQS and S3 on the loopback interface: the server of the library moto.

Its data is in memory, and is lost when it ends. It accepts any credentials, so it is only for tests and demonstrations on
one machine. The credentials here belong to no real account.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any

import boto3
import psutil

from local.servers.server import Server

REGION = "sa-east-1"
ACCESS_KEY = "loja"


class AWS(Server):
    """One moto server, listening on 127.0.0.1:`port`."""

    name = "moto"

    def __init__(self, port: int, log: Path, secret_key: str | None = None) -> None:
        super().__init__(port, log)
        self.access_key = ACCESS_KEY
        self.secret_key = secret_key or secrets.token_hex(20)

    @property
    def url(self) -> str:
        """Return the endpoint URL of all services."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        """Return a boto3 client for `sqs` or `s3`."""
        return boto3.client(service, **self.parameters)

    @property
    def parameters(self) -> dict[str, str]:
        """Return the arguments of `boto3.client` for this server, as values for JSON."""
        return {
            "endpoint_url": self.url,
            "region_name": REGION,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
        }

    def command(self) -> list[str]:
        """Return the argument vector."""
        return [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        """Return the environment without variables that may name a real account."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}

    def ready(self) -> bool:
        """Return True once this process, and no other, listens on the port."""
        if self.process is None:
            return False
        try:
            connections = psutil.Process(self.process.pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            return False
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == self.port
            for connection in connections
        )
