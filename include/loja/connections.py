"""The store's servers, from Airflow's connections. No other module of the store reads Airflow's connections.

| connection        | type                  | extra                                                                  |
|-------------------|-----------------------|------------------------------------------------------------------------|
| `mysql_loja`      | mysql                 | PyMySQL's arguments, e.g. `{"ssl_ca": "/etc/ssl/ca.pem"}`              |
| `rabbitmq_loja`   | amqp; schema: virtual host | `{"tls": true}` for amqps                                         |
| `sqs_loja`        | aws                   | the Amazon provider's arguments, e.g. `{"region_name": "sa-east-1"}`   |
| `s3_stage`        | aws                   | the same                                                               |
| `redshift_dw`     | redshift, or postgres | the driver's arguments; the role of COPY is `LOJA_PAPEL_COPY`          |
| `fornecedor_loja` | http; optional        | none; its login and password are sent to the supplier's address        |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from include.conventions.connections import conninfo, find
from include.conventions.errors import ConfigurationError

if TYPE_CHECKING:
    import pika
    from pymysql.connections import Connection
    from pymysql.cursors import DictCursor

    from include.loja.transfer.destination import Destination

MYSQL = "mysql_loja"
RABBITMQ = "rabbitmq_loja"
SQS = "sqs_loja"
S3 = "s3_stage"
WAREHOUSE = "redshift_dw"
SUPPLIER = "fornecedor_loja"


def mysql() -> Connection[DictCursor]:
    """Return a new connection to the store's database; the caller closes it."""
    from include.loja.mysql import connect

    found = find(MYSQL)
    parameters = {
        "host": found.host,
        "port": found.port,
        "user": found.login,
        "password": found.password,
        "database": found.schema,
        **found.extra_dejson,
    }
    return connect({key: value for key, value in parameters.items() if value is not None})


def rabbitmq() -> pika.URLParameters:
    """Return pika's parameters for the store's RabbitMQ. Raises ConfigurationError if the connection has no host."""
    import pika

    found = find(RABBITMQ)
    if not found.host:
        raise ConfigurationError(f"connection {RABBITMQ} has no host; it must name the broker's")
    tls = bool(found.extra_dejson.get("tls"))
    login, password, virtual_host = (
        quote(text or "", safe="") for text in (found.login, found.password, found.schema or "/")
    )
    port = found.port or (5671 if tls else 5672)
    return pika.URLParameters(
        f"{'amqps' if tls else 'amqp'}://{login}:{password}@{found.host}:{port}/{virtual_host}"
        # A broker without free memory or disk blocks publishers and sends no error: fail after this many seconds.
        "?blocked_connection_timeout=60"
    )


def sqs() -> Any:
    """Return boto3's SQS client for the store's queues. Raises ConfigurationError if the connection has no region."""
    from airflow.providers.amazon.aws.hooks.sqs import SqsHook
    from botocore.exceptions import NoRegionError

    find(SQS)
    try:
        return SqsHook(aws_conn_id=SQS).get_conn()
    except NoRegionError:
        raise ConfigurationError(
            f'connection {SQS} has no region; its extra must hold one, like {{"region_name": "sa-east-1"}}'
        ) from None


def s3() -> Any:
    """Return boto3's S3 client for the stage."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    find(S3)
    return S3Hook(aws_conn_id=S3).get_conn()


def warehouse() -> Destination:
    """Return the warehouse: Redshift, or PostgreSQL in its place. The connection's type decides.

    Raises ConfigurationError for any other type.
    """
    from include.loja.settings import Copy
    from include.loja.transfer.destination import postgres, redshift

    found = find(WAREHOUSE)
    if found.conn_type == "redshift":
        from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook

        hook = RedshiftSQLHook(redshift_conn_id=WAREHOUSE, aws_conn_id=S3)
        return redshift(hook.get_conn, Copy.load().role)
    if found.conn_type == "postgres":
        return postgres(conninfo(found, found.extra_dejson))
    raise ConfigurationError(
        f"connection {WAREHOUSE} is of type {found.conn_type!r}; it must be redshift or postgres"
    )


def supplier() -> tuple[str, str] | None:
    """Return login and password for the supplier's address, or None if the connection is not defined."""
    try:
        found = find(SUPPLIER)
    except ConfigurationError:
        return None
    return found.login or "", found.password or ""
