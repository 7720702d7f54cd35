"""RabbitMQ on the loopback interface: Debian's package with its Erlang, run in place.

The scripts of both packages contain absolute paths, so the Erlang machine is started directly, as `rabbitmq-server` would
start it. Two defaults are changed. The node has a fixed port for other nodes, so that it does not start `epmd`, which would
outlive it. HOME is the data folder, so that the node's cookie is there. The durable queues are stored in this folder too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import socket
from pathlib import Path
from urllib.parse import quote

import pika
from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import AMQPError

from local.servers.debian import Unpacked
from local.servers.server import Server, ServerError, free_port

PACKAGES = ["rabbitmq-server"]
USER = "loja"
NODE = "rabbit@localhost"
MAX_MESSAGE = 256 * 1024
"""In bytes. A consumer has a batch in memory before it looks at one; `deploy/loja/rabbitmq.conf` has the same limit."""


class RabbitMQ(Server):
    """One RabbitMQ node in `data`, listening on 127.0.0.1:`port`, with one account `loja`."""

    name = "RabbitMQ"
    start_timeout = 120.0

    def __init__(self, data: Path, port: int, password: str, log: Path, tree: Unpacked) -> None:
        super().__init__(port, log)
        self.data = data.absolute()
        self.password = password
        self.tree = tree
        self.nodes_port = free_port()

    def url(self) -> str:
        """Return the AMQP URL of the only virtual host, with the password."""
        return f"amqp://{USER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/%2F"

    def connect(self) -> BlockingConnection:
        """Return a connection."""
        return BlockingConnection(pika.URLParameters(self.url()))

    def command(self) -> list[str]:
        """Return the argument vector of the Erlang machine."""
        return [
            # RabbitMQ itself does not prevent two nodes from writing to one folder. The lock ends with the process.
            *("flock", "--nonblock", "--no-fork", "--verbose", str(self.data / "lock")),
            str(self._binaries() / "erlexec"),
            "-noinput",
            *("-boot", "start_sasl"),
            *("-s", "rabbit", "boot"),
            *("+W", "w"),
            *("+B", "i"),
            # Idle schedulers sleep instead of spinning.
            *("+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"),
            *("-syslog", "logger", "[]", "-syslog", "syslog_error_logger", "false"),
            *("-kernel", "prevent_overlapping_partitions", "false"),
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
            *("-sname", NODE),
            *("-start_epmd", "false", "-erl_epmd_port", str(self.nodes_port)),
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment with the paths of Erlang and RabbitMQ, without the machine's own settings for them."""
        home = self._rabbit()
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))
        }
        return {
            **own,
            **self.tree.environment(),
            "HOME": str(self.data),
            "ROOTDIR": str(self._binaries().parents[1]),
            "BINDIR": str(self._binaries()),
            "EMU": "beam",
            "PROGNAME": "erl",
            "ERL_LIBS": str(home / "plugins"),
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_HOME": str(home),
            "RABBITMQ_PLUGINS_DIR": str(home / "plugins"),
            "RABBITMQ_NODENAME": NODE,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.nodes_port),
            "RABBITMQ_MNESIA_BASE": str(self.data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.data / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self.data / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.data / "none.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.data / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.data / "plugins"),
        }

    def initialize(self) -> None:
        """Write the configuration. Raises ServerError for an empty password."""
        super().initialize()
        if not self.password:
            raise ServerError("the password is empty: it must hold at least one character")
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.data / "plugins").write_text("[].\n")
        (self.data / "definitions.json").write_text(json.dumps(definitions(self.password)))
        # With definitions, the node does not create the account `guest`.
        (self.data / "rabbitmq.conf").write_text(
            f"load_definitions = {self.data / 'definitions.json'}\nlog.console.level = info\nlog.file = false\n"
            f"max_message_size = {MAX_MESSAGE}\n"
        )

    def ready(self) -> bool:
        """Return True once a node answers with this password."""
        with socket.socket() as probe:
            # Probe the port first: the client would log a failed connection.
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        try:
            self.connect().close()
        except AMQPError:
            # Also a wrong password: our node accepts the right one, so another node answers, and ours will end.
            return False
        return True

    def _binaries(self) -> Path:
        return _newest(self.tree.program("/usr/lib/erlang"), "erts-*") / "bin"

    def _rabbit(self) -> Path:
        return _newest(self.tree.program("/usr/lib/rabbitmq/lib"), "rabbitmq_server-*")


def definitions(password: str) -> dict[str, object]:
    """Return the definitions of the account and the virtual host. The password is salted and hashed in RabbitMQ's form."""
    salt = secrets.token_bytes(4)
    hashed = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {
        "users": [
            {
                "name": USER,
                "password_hash": hashed,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
        ],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
    }


def _newest(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise ServerError(
            f"there is no {pattern} in {folder}: the package has another layout than RabbitMQ 3.10's"
        )
    return found[-1]
