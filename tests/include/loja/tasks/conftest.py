"""The servers as Airflow's connections: what every task of the store finds."""

from __future__ import annotations

import json

import pytest
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from local.servers.aws import AWS, REGION
from local.servers.mariadb import USER, MariaDB
from local.servers.postgres import Postgres
from local.servers.rabbitmq import USER as BROKER_USER
from local.servers.rabbitmq import RabbitMQ


@pytest.fixture
def warehouse(postgres: Postgres, loja_name: str) -> str:
    """The DSN of a warehouse of the test's own."""
    postgres.create_database(f"dw_{loja_name}")
    return postgres.dsn(f"dw_{loja_name}")


@pytest.fixture
def described(
    monkeypatch: pytest.MonkeyPatch,
    loja: Connection[Cursor],
    mariadb_server: MariaDB,
    rabbitmq_server: RabbitMQ,
    aws: AWS,
    postgres: Postgres,
    loja_name: str,
    warehouse: str,
) -> None:
    """Describe the store's database, both brokers, S3 and the warehouse as Airflow's connections."""
    amazon = {
        "conn_type": "aws",
        "login": aws.access_key,
        "password": aws.secret_key,
        "extra": {"region_name": REGION, "endpoint_url": aws.url},
    }
    for name, connection in {
        "mysql_loja": {
            "conn_type": "mysql",
            "host": "127.0.0.1",
            "port": mariadb_server.port,
            "login": USER,
            "password": mariadb_server.password,
            "schema": loja_name,
        },
        "rabbitmq_loja": {
            "conn_type": "amqp",
            "host": "127.0.0.1",
            "port": rabbitmq_server.port,
            "login": BROKER_USER,
            "password": rabbitmq_server.password,
            "schema": "/",
        },
        "sqs_loja": amazon,
        "s3_stage": amazon,
        "redshift_dw": {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": postgres.port,
            "login": "postgres",
            "password": postgres.password,
            "schema": f"dw_{loja_name}",
        },
    }.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
