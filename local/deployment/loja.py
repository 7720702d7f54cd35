"""The store's servers in a deployment: MariaDB, RabbitMQ, moto's SQS and S3, and the warehouse on its PostgreSQL.

Their ports and passwords are in the deployment's settings, so Airflow's environment always has the connections. If the
servers do not run, a connection is refused, as with any server that is down.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

import psycopg
from psycopg import sql
from pymysql.connections import Connection

from include.loja import mysql
from local.deployment.settings import DEFAULT_FOLDER, Settings
from local.servers import mariadb, rabbitmq
from local.servers.aws import ACCESS_KEY, AWS, REGION
from local.servers.debian import unpack
from local.servers.mariadb import MariaDB
from local.servers.postgres import Postgres
from local.servers.rabbitmq import RabbitMQ
from local.servers.server import Server

# All deployments of this checkout share it, so packages of Debian's archive are fetched only once.
DEBIAN = DEFAULT_FOLDER / "debian"
DATABASE = "loja"
WAREHOUSE = "redshift_dw"
# The role that replaces Redshift's user; it owns its database and nothing else.
WAREHOUSE_USER = "loja_dw"
BUCKET = "loja"


def variables(settings: Settings) -> dict[str, str]:
    """Return the variables of .env.example, with the addresses and passwords of these servers."""
    amazon = {
        "conn_type": "aws",
        "login": ACCESS_KEY,
        "extra": {"endpoint_url": f"http://127.0.0.1:{settings.aws_port}", "region_name": REGION},
    }
    postgres = {"conn_type": "postgres", "port": settings.postgres_port, "schema": WAREHOUSE}
    connections: Mapping[str, tuple[Mapping[str, Any], str]] = {
        "MYSQL_LOJA": (
            {"conn_type": "mysql", "port": settings.mariadb_port, "login": mariadb.USER, "schema": DATABASE},
            settings.mariadb_password,
        ),
        "RABBITMQ_LOJA": (
            {"conn_type": "amqp", "port": settings.rabbitmq_port, "login": rabbitmq.USER, "schema": "/"},
            settings.rabbitmq_password,
        ),
        "SQS_LOJA": (amazon, settings.aws_secret_key),
        "STAGE_LOJA": (amazon, settings.aws_secret_key),
        "REDSHIFT_DW": ({**postgres, "login": WAREHOUSE_USER}, settings.redshift_password),
    }
    found = {"LOJA_BALDE": BUCKET}
    for name, (parts, password) in connections.items():
        # The object's members without braces, as in .env.
        found[name] = json.dumps({"host": "127.0.0.1", **parts})[1:-1]
        found[f"{name}_PASSWORD"] = password
    return found


@dataclass(frozen=True)
class Loja:
    """The servers, and connections to them."""

    settings: Settings
    mariadb: MariaDB
    rabbitmq: RabbitMQ
    aws: AWS

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the servers, not started. Raises DebianError if their programs can't be fetched."""
        return cls(
            settings,
            MariaDB(
                settings.data("mariadb"),
                settings.mariadb_port,
                settings.mariadb_password,
                settings.log("mariadb"),
                unpack(DEBIAN, mariadb.PACKAGES),
            ),
            RabbitMQ(
                settings.data("rabbitmq"),
                settings.rabbitmq_port,
                settings.rabbitmq_password,
                settings.log("rabbitmq"),
                unpack(DEBIAN, rabbitmq.PACKAGES),
            ),
            AWS(settings.aws_port, settings.log("aws"), settings.aws_secret_key),
        )

    @property
    def servers(self) -> tuple[Server, ...]:
        """Return the servers that must be started."""
        return (self.mariadb, self.rabbitmq, self.aws)

    def prepare(self, postgres: Postgres) -> None:
        """Create the store's database with its tables, the bucket and the warehouse, if they are missing."""
        self.mariadb.create_database(DATABASE)
        with closing(self.connect()) as connection:
            mysql.create_schema(connection)
        s3 = self.aws.client("s3")
        if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        postgres.create_role(WAREHOUSE_USER, self.settings.redshift_password)
        postgres.create_database(WAREHOUSE)
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(WAREHOUSE), sql.Identifier(WAREHOUSE_USER)
                )
            )

    def connect(self) -> Connection[Any]:
        """Return a connection to the store's database, with the same session settings as in the DAGs."""
        return mysql.connect(self.mariadb.parameters(DATABASE))
