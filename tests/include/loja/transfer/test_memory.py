"""Memory does not grow with the rows: a process that moves eight times as many holds hardly more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pymysql.connections import Connection

from include.loja.transfer.bucket import Bucket
from local.servers.aws import AWS
from local.servers.mariadb import MariaDB
from local.servers.postgres import Postgres
from tests.include.loja.rows import execute

ROOT = Path(__file__).resolve().parents[4]


DIGITS = f"({' UNION ALL '.join(f'SELECT {digit} AS digit' for digit in range(10))})"


def fill(loja: Connection[Any], rows: int) -> None:
    """Write so many orders, with SQL that both MariaDB and MySQL understand."""
    execute(loja, "TRUNCATE pedidos")
    places = range(len(str(rows)))
    seq = " + ".join(["1", *(f"{10**n} * d{n}.digit" for n in places)])
    digits = ", ".join(f"{DIGITS} AS d{n}" for n in places)
    execute(
        loja,
        "INSERT INTO pedidos (pedido_id, cliente_id, data, valor_total, status) "
        "SELECT seq, seq MOD 1000, '2026-01-01' + INTERVAL seq SECOND, seq MOD 10000 / 100, "
        f"IF(seq MOD 100 = 0, '?', 'pago') FROM (SELECT {seq} AS seq FROM {digits}) AS numbers WHERE seq <= {rows}",
    )


def move(given: dict[str, Any]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.include.loja.transfer.mover"],
        cwd=ROOT,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    print(found)
    return found


def ends(mariadb: MariaDB, loja_name: str, aws: AWS, bucket: Bucket, postgres: Postgres) -> dict[str, Any]:
    """Return what `mover` is given."""
    postgres.create_database(f"memory_{loja_name}")
    return {
        "mysql": mariadb.parameters(loja_name),
        "s3": aws.parameters,
        "bucket": bucket.name,
        "dsn": postgres.dsn(f"memory_{loja_name}"),
    }


def test_eight_times_the_rows_take_hardly_more_memory(
    loja: Connection[Any],
    mariadb_server: MariaDB,
    loja_name: str,
    aws: AWS,
    bucket: Bucket,
    postgres: Postgres,
) -> None:
    given = ends(mariadb_server, loja_name, aws, bucket, postgres)
    fill(loja, 50_000)
    few = move(given)
    fill(loja, 400_000)
    many = move(given)
    assert (few["rows"], many["rows"]) == (50_000, 400_000)
    # Held in memory, the rows alone would be some 250 MB.
    assert many["peak_mb"] - few["peak_mb"] < 60


@pytest.mark.soak
def test_five_million_orders(
    loja: Connection[Any],
    mariadb_server: MariaDB,
    loja_name: str,
    aws: AWS,
    bucket: Bucket,
    postgres: Postgres,
) -> None:
    given = ends(mariadb_server, loja_name, aws, bucket, postgres)
    fill(loja, 5_000_000)
    moved = move(given)
    assert moved["rows"] == 5_000_000
    assert moved["peak_mb"] - moved["base_mb"] < 250
