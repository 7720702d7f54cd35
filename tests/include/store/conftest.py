"""The store's tables in a database of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymysql.connections import Connection

from include.store import mysql, warehouse
from include.store.messages_stored import create_tables
from include.store.stage import Stage
from include.store.warehouse import Warehouse
from local.aws import AWS, REGION
from local.mariadb import MariaDB
from local.postgres import Postgres
from local.rabbitmq import RabbitMQ as RabbitMQServer
from tests.include.store.brokers import SQS, RabbitMQ

_numbers = itertools.count(1)

Connect = Callable[[], "Connection[Any]"]


@pytest.fixture
def connect(mariadb_server: MariaDB, loja: str) -> Iterator[Connect]:
    """Return a maker of connections to the test's database, which has the tables; all are closed at the end."""
    opened = []

    def new() -> Connection[Any]:
        connection = mysql.connect(mariadb_server.parameters(loja))
        opened.append(connection)
        return connection

    mysql.create_schema(new())
    yield new
    for connection in opened:
        if connection.open:
            connection.close()


@pytest.fixture
def store(connect: Connect) -> Connection[Any]:
    """Return one connection to it."""
    return connect()


@pytest.fixture
def queues(store: Connection[Any]) -> Connection[Any]:
    """Return one connection to it, with the tables of the queues' consumers."""
    create_tables(store)
    return store


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
def dw(postgres: Postgres) -> Warehouse:
    """Return an empty warehouse: PostgreSQL in the place of Redshift."""
    name = f"dw_{next(_numbers)}"
    postgres.create_database(name)
    return warehouse.postgres(postgres.dsn(name))


@pytest.fixture
def stage(aws: AWS) -> Stage:
    """Return a bucket on moto's S3, and parts of 40 rows."""
    client = aws.client("s3")
    name = f"stage-{next(_numbers)}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Stage(client, name, part_rows=40)
