"""What Redshift is told: without a Redshift, its text is all that can be held to something."""

from __future__ import annotations

import pytest

from include.conventions.errors import ConfigurationError
from include.loja.transfer.bucket import Export, Part
from include.loja.transfer.destination import copy_statement, manifest, redshift
from include.loja.transfer.publish import LEDGER, ORDER_TABLES
from include.loja.transfer.table import Figures

ROLE = "arn:aws:iam::123456789012:role/carga-da-loja"


def test_copy_reads_a_manifest_with_the_length_of_each_file() -> None:
    assert copy_statement("estagio_pedidos", "loja", "a/b/manifesto-copy.json", ROLE) == (
        "COPY estagio_pedidos FROM 's3://loja/a/b/manifesto-copy.json' "
        f"IAM_ROLE '{ROLE}' FORMAT AS PARQUET MANIFEST"
    )
    assert manifest(Export("pedidos", [Part("a/p.parquet", 10, 2)], Figures()), "loja") == {
        "entries": [{"url": "s3://loja/a/p.parquet", "mandatory": True, "meta": {"content_length": 10}}]
    }


def test_of_two_loads_the_second_waits_and_no_reader_does() -> None:
    told: list[str] = []

    class Cursor:
        execute = staticmethod(told.append)

    redshift(lambda: None, ROLE).lock(Cursor(), [*ORDER_TABLES, LEDGER])
    # Redshift's lock keeps readers away as well, so only what nobody but the loads reads has one.
    assert told == ["LOCK TABLE cargas"]


@pytest.mark.parametrize(
    "role", ["", "default", "arn:aws:iam::1:role/x", f"{ROLE}' ; DROP TABLE pedidos; --"]
)
def test_a_role_that_is_none_is_refused(role: str) -> None:
    with pytest.raises(
        ConfigurationError, match="for Redshift it must be like arn:aws:iam::123456789012:role/name"
    ):
        redshift(lambda: None, role)


@pytest.mark.parametrize(("bucket", "key"), [("loja", "a'b"), ("lo ja", "a"), ("loja", "")])
def test_a_name_that_could_be_sql_is_refused(bucket: str, key: str) -> None:
    with pytest.raises(ConfigurationError, match="can't be part of a statement"):
        copy_statement("estagio_pedidos", bucket, key, ROLE)
