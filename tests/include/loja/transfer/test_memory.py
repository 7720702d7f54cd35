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


def fill(store: Connection[Any], rows: int) -> None:
    """Write so many orders; MariaDB's sequence engine counts."""
    execute(store, "TRUNCATE pedidos")
    execute(
        store,
        "INSERT INTO pedidos (pedido_id, cliente_id, data, valor_total, status) "
        f"SELECT seq, seq MOD 1000, '2026-01-01' + INTERVAL seq SECOND, seq MOD 10000 / 100, "
        f"IF(seq MOD 100 = 0, '?', 'pago') FROM seq_1_to_{rows}",
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


def ends(mariadb: MariaDB, loja: str, aws: AWS, bucket: Bucket, postgres: Postgres) -> dict[str, Any]:
    """Return what `mover` is given."""
    postgres.create_database(f"memory_{loja}")
    return {
        "mysql": mariadb.parameters(loja),
        "s3": aws.parameters,
        "bucket": bucket.name,
        "dsn": postgres.dsn(f"memory_{loja}"),
    }


def test_eight_times_the_rows_take_hardly_more_memory(
    store: Connection[Any], mariadb_server: MariaDB, loja: str, aws: AWS, bucket: Bucket, postgres: Postgres
) -> None:
    given = ends(mariadb_server, loja, aws, bucket, postgres)
    fill(store, 50_000)
    few = move(given)
    fill(store, 400_000)
    many = move(given)
    assert (few["rows"], many["rows"]) == (50_000, 400_000)
    # Held in memory, the rows alone would be some 250 MB.
    assert many["peak_mb"] - few["peak_mb"] < 60


@pytest.mark.soak
def test_five_million_orders(
    store: Connection[Any], mariadb_server: MariaDB, loja: str, aws: AWS, bucket: Bucket, postgres: Postgres
) -> None:
    given = ends(mariadb_server, loja, aws, bucket, postgres)
    fill(store, 5_000_000)
    moved = move(given)
    assert moved["rows"] == 5_000_000
    assert moved["peak_mb"] - moved["base_mb"] < 250
