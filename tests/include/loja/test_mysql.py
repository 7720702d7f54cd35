"""How a transaction ends when its connection does."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from pymysql.connections import Connection

from include.loja import mysql
from tests.include.loja.conftest import Connect
from tests.include.loja.rows import execute


def test_a_connection_that_is_gone_does_not_hide_what_went_wrong(
    loja: Connection[Any], connect: Connect
) -> None:
    doomed = connect()

    def fail() -> None:
        with closing(doomed), mysql.transaction(doomed):
            execute(loja, f"KILL {doomed.thread_id()}")
            raise ValueError("what went wrong")

    with pytest.raises(ValueError, match="what went wrong"):
        fail()
    assert not doomed.open
