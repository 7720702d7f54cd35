"""A process that moves all orders through the stage into the warehouse, and says what memory it took.

Reads from its standard input a JSON object with `mysql`, `s3`, `bucket` and `dsn`; prints one with `rows`, `seconds` and
`peak_mb`, and `base_mb`, before the first row.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import timedelta

import boto3
import pyarrow.csv
import pyarrow.parquet  # noqa: F401 - what they take by themselves belongs to the base

from include.loja import mysql
from include.loja.transfer import destination, export, publish
from include.loja.transfer.bucket import Bucket
from include.loja.transfer.publish import Chunk


def peak_mb() -> float:
    """Return the most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Move everything as one chunk."""
    given = json.load(sys.stdin)
    connection = mysql.connect(given["mysql"])
    bucket = Bucket(boto3.client("s3", **given["s3"]), given["bucket"], part_rows=50_000)
    dw = destination.postgres(given["dsn"])
    base = peak_mb()
    began = time.monotonic()
    [(low, high)] = export.chunks(connection, 1 << 40)
    read = export.orders_of_chunk(connection, bucket, "m", (low, high), timedelta(seconds=60))
    exported = time.monotonic()
    with dw.session() as session:
        publish.stage_orders(session, bucket, [read.kept], [read.set_aside])
        publish.begin(session, publish.ORDER_TABLES)
        publish.publish_all_orders(session, [Chunk(low, high, read.source)], read.until, read.version, "m")
        session.connection.commit()
    print(
        json.dumps(
            {
                "rows": read.source.rows,
                "exported_s": round(exported - began, 1),
                "seconds": round(time.monotonic() - began, 1),
                "base_mb": round(base),
                "peak_mb": round(peak_mb()),
            }
        )
    )


if __name__ == "__main__":
    main()
