"""Write rows to Parquet files on S3, part by part: one batch of rows is in memory, one part on disk.

Each try writes its parts to a folder of its own. The export that lists them is returned or stored after the last part.
A process that dies before that leaves parts that no export lists and nobody reads; a lifecycle rule of the bucket removes
them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Self
from uuid import uuid4

from include.loja.errors import ComparisonError
from include.loja.transfer.table import Figures, Table

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 10_000


@dataclass(frozen=True)
class Part:
    """A Parquet file in the stage's bucket."""

    key: str
    size: int
    rows: int


@dataclass(frozen=True)
class Export:
    """A table's rows in the stage, and their figures."""

    table: str
    parts: list[Part]
    figures: Figures

    def dump(self) -> dict[str, Any]:
        """Return the export as values for JSON."""
        return {
            "table": self.table,
            "parts": [vars(part) for part in self.parts],
            "figures": self.figures.dump(),
        }

    @staticmethod
    def load(dumped: Mapping[str, Any]) -> Export:
        """Return the export that was given to `dump`."""
        return Export(
            dumped["table"], [Part(**part) for part in dumped["parts"]], Figures.load(dumped["figures"])
        )


def folder(dag_id: str, run: str) -> str:
    """Return the prefix of a run's objects. It is readable, and unique per run."""
    return f"{dag_id}/{re.sub(r'[^0-9A-Za-z]+', '-', run)}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


@dataclass
class Bucket:
    """The bucket of the stage; `client` is boto3's S3 client."""

    client: Any
    name: str
    part_rows: int

    def put(self, key: str, content: Mapping[str, Any]) -> None:
        """Write a JSON object; replace an existing one."""
        self.client.put_object(Bucket=self.name, Key=key, Body=json.dumps(content).encode())

    def get(self, key: str) -> dict[str, Any] | None:
        """Return a JSON object, or None if the key does not exist."""
        try:
            answer = self.client.get_object(Bucket=self.name, Key=key)
        except self.client.exceptions.NoSuchKey:
            return None
        found: dict[str, Any] = json.loads(answer["Body"].read())
        return found

    def remove(self, prefix: str) -> int:
        """Remove all objects below the prefix; return how many."""
        removed = 0
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            if keys := [{"Key": each["Key"]} for each in page.get("Contents", [])]:
                self.client.delete_objects(Bucket=self.name, Delete={"Objects": keys, "Quiet": True})
                removed += len(keys)
        return removed

    def batches(self, part: Part) -> Iterator[pa.RecordBatch]:
        """Yield a part's rows in batches. Raises ComparisonError if the file's size or number of rows has changed."""
        import pyarrow.parquet as pq

        with TemporaryFile() as file:
            self.client.download_fileobj(self.name, part.key, file)
            parquet = pq.ParquetFile(file)
            if (file.seek(0, 2), parquet.metadata.num_rows) != (part.size, part.rows):
                raise ComparisonError(f"s3://{self.name}/{part.key} is not the file that was written")
            yield from parquet.iter_batches(BATCH)

    def writer(self, prefix: str, table: Table) -> Writer:
        """Return a writer for a table's rows, in a new folder below the prefix."""
        return Writer(self, f"{prefix}/{table.name}/{uuid4().hex}", table)


@dataclass
class Writer:
    """Collects rows and writes them as parts. A context manager, which removes its temporary file."""

    bucket: Bucket
    prefix: str
    table: Table
    parts: list[Part] = field(default_factory=list)
    figures: Figures = field(default_factory=Figures)
    _rows: list[Mapping[str, Any]] = field(default_factory=list)
    _file: IO[bytes] | None = None
    _parquet: Any = None
    _written: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row: a value for each of the table's columns."""
        self._rows.append(row)
        if len(self._rows) >= min(BATCH, self.bucket.part_rows):
            self._flush()

    def finish(self) -> Export:
        """Upload what is left, and return the export."""
        self._flush()
        self._upload()
        return Export(self.table.name, self.parts, self.figures)

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._rows:
            return
        schema = self.table.schema()
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115 - closed when it is uploaded, or with the writer
            self._parquet = pq.ParquetWriter(self._file, schema)
        columns = [
            pa.array([row[name] for row in self._rows], type=kind)
            for name, kind in zip(schema.names, schema.types, strict=True)
        ]
        self._parquet.write_batch(pa.record_batch(columns, schema=schema))
        self.figures += Figures.of(self._rows, self.table)
        self._written += len(self._rows)
        self._rows = []
        if self._written >= self.bucket.part_rows:
            self._upload()

    def _upload(self) -> None:
        if self._file is None:
            return
        self._parquet.close()
        size = self._file.tell()
        self._file.seek(0)
        key = f"{self.prefix}/parte-{len(self.parts) + 1:05d}.parquet"
        # Uploads a large file in several requests, and closes the file.
        self.bucket.client.upload_fileobj(self._file, self.bucket.name, key)
        self.parts.append(Part(key, size, self._written))
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._parquet, self._written = None, None, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
