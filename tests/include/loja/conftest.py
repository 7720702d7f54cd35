"""The store's tables in a database of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymysql.connections import Connection

from include.loja import mysql
from include.loja.queues.inbox import create_tables
from include.loja.transfer import destination
from include.loja.transfer.bucket import Bucket
from include.loja.transfer.destination import Destination
from local.servers.aws import AWS, REGION
from local.servers.mariadb import MariaDB
from local.servers.postgres import Postgres
from local.servers.rabbitmq import RabbitMQ as RabbitMQServer
from tests.include.loja.queues.brokers import SQS, RabbitMQ

_numbers = itertools.count(1)

Connect = Callable[[], "Connection[Any]"]


@pytest.fixture
def connect(mariadb_server: MariaDB, loja_name: str) -> Iterator[Connect]:
    """Return a maker of connections to the test's database, which has the tables; all are closed at the end."""
    opened = []

    def new() -> Connection[Any]:
        connection = mysql.connect(mariadb_server.parameters(loja_name))
        opened.append(connection)
        return connection

    mysql.create_schema(new())
    yield new
    for connection in opened:
        if connection.open:
            connection.close()


@pytest.fixture
def loja(connect: Connect) -> Connection[Any]:
    """Return one connection to it."""
    return connect()


@pytest.fixture
def queues(loja: Connection[Any]) -> Connection[Any]:
    """Return one connection to it, with the tables of the queues' consumers."""
    create_tables(loja)
    return loja


@pytest.fixture
def rabbitmq(rabbitmq_server: RabbitMQServer) -> RabbitMQ:
    """Return RabbitMQ with empty queues."""
    return RabbitMQ(rabbitmq_server)


@pytest.fixture
def sqs(aws: AWS) -> Iterator[SQS]:
    """Return SQS without queues."""
    client = aws.client("sqs")
    yield SQS(aws, client)
    client.close()


@pytest.fixture
def dw(postgres: Postgres) -> Destination:
    """Return an empty warehouse: PostgreSQL in the place of Redshift."""
    name = f"dw_{next(_numbers)}"
    postgres.create_database(name)
    return destination.postgres(postgres.dsn(name))


@pytest.fixture
def bucket(aws: AWS) -> Bucket:
    """Return a bucket on moto's S3, and parts of 40 rows."""
    client = aws.client("s3")
    name = f"stage-{next(_numbers)}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Bucket(client, name, part_rows=40)
