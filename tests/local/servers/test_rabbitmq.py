"""RabbitMQ, as the store's tests and the embedded deployment run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import pytest
from pika.exceptions import ProbableAuthenticationError

from local.processes import is_alive
from local.servers.debian import unpack
from local.servers.rabbitmq import PACKAGES, RabbitMQ
from local.servers.server import ServerError, free_port
from tests.local.loja_fixtures import DEBIAN

pytestmark = pytest.mark.server

PASSWORD = "p@ss: 'word'/ç%20"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    folder = tmp_path_factory.mktemp("rabbitmq")
    with RabbitMQ(
        folder / "the data", free_port(), PASSWORD, folder / "log", unpack(DEBIAN, PACKAGES)
    ) as server:
        yield server


def test_asks_for_the_password_and_has_no_guest(server: RabbitMQ) -> None:
    for user, password in (("guest", "guest"), ("loja", "x")):
        with pytest.raises(ProbableAuthenticationError):
            pika.BlockingConnection(
                pika.ConnectionParameters(
                    "127.0.0.1", server.port, credentials=pika.PlainCredentials(user, password)
                )
            )


def test_a_confirmed_message_outlives_a_crash_and_a_restart(server: RabbitMQ) -> None:
    with server.connect() as connection:
        channel = connection.channel()
        channel.queue_declare("kept", durable=True)
    # RabbitMQ 3.10 confirms a new queue a moment before it is completely on disk. If it is killed then, the queue is lost.
    # This test is about a message in a queue that is on disk.
    server.restart()
    with server.connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("", "kept", b"hello", pika.BasicProperties(delivery_mode=2))
    server.kill()
    server.start()
    with server.connect() as connection:
        _, _, body = connection.channel().basic_get("kept", auto_ack=True)
    assert body == b"hello"


def test_listens_on_loopback_only_and_shows_no_secret(server: RabbitMQ) -> None:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    family = [process, *process.children(recursive=True)]
    listening = {
        c.laddr.ip for one in family for c in one.net_connections() if c.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert not any(PASSWORD in " ".join(one.cmdline()) for one in family)
    assert PASSWORD not in "".join(process.environ().values())
    written = [path.read_bytes() for path in server.data.rglob("*") if path.is_file()]
    assert not any(PASSWORD.encode() in content for content in [*written, server.log.read_bytes()])


def test_a_second_node_on_the_same_data_is_refused(server: RabbitMQ, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="flock: failed to get lock"):
        RabbitMQ(server.data, free_port(), PASSWORD, tmp_path / "log", server.tree).start()


def test_nothing_of_it_is_left_behind(server: RabbitMQ) -> None:
    """No epmd, no cookie in the home folder, no process after the stop. It must be the last test of this node."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    children = process.children(recursive=True)
    assert (server.data / ".erlang.cookie").exists()
    assert not (Path.home() / ".erlang.cookie").exists()
    ours = [one.info["exe"] for one in psutil.process_iter(["exe"]) if one.info["exe"]]
    assert not [exe for exe in ours if exe.startswith(str(server.tree.root)) and exe.endswith("/epmd")]
    server.stop()
    assert not any(is_alive(child) for child in children)
