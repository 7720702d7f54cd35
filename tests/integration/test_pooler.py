"""A real connection pooler between the mirror and its source: session pooling works, any other mode is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from include.mirror.engine import Engine
from include.mirror.errors import RefusedError, SourceError
from include.mirror.source.session import Source
from local.servers import pgbouncer
from local.servers.clickhouse import ClickHouse
from local.servers.debian import unpack
from local.servers.pgbouncer import PgBouncer
from local.servers.postgres import Postgres
from local.servers.server import free_port
from tests.conftest import BASE_DATA, empty_warehouse, new_source
from tests.lab import Lab
from tests.local.loja_fixtures import DEBIAN


@pytest.fixture(scope="module")
def lab(postgres: Postgres, clickhouse: ClickHouse) -> Lab:
    """A lab for this module. A policy hides half of the sales from the role `limitada`."""
    empty_warehouse(clickhouse)
    lab = Lab(new_source(postgres), clickhouse)
    lab.execute(BASE_DATA)
    lab.execute("INSERT INTO venda (valor_total) SELECT n FROM generate_series(1, 10) AS n")
    lab.execute("CREATE ROLE limitada LOGIN PASSWORD 'x'; GRANT pg_read_all_stats TO limitada")
    lab.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO limitada")
    lab.execute("ALTER TABLE venda ENABLE ROW LEVEL SECURITY")
    lab.execute("CREATE POLICY metade ON venda USING (venda_id % 2 = 0)")
    return lab


@pytest.fixture(scope="module")
def through(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Engine]]:
    """Returns the mirror through a pooler that drops startup options, given the name of one of the pooler's databases."""
    folder: Path = tmp_path_factory.mktemp("pgbouncer")
    modes = {"sessao": "session", "transacao": "transaction", "comando": "statement", "metade": "session"}
    dsns = dict.fromkeys(modes, lab.dsn) | {"metade": make_conninfo(lab.dsn, user="limitada", password="x")}
    tree = unpack(DEBIAN, pgbouncer.PACKAGES)
    with PgBouncer(folder, free_port(), folder / "log", tree, dsns, modes) as pooler:
        yield lambda name: lab.engine(source=Source(pooler.dsn(name), lab.zone, name="postgres_vendas"))


@pytest.mark.parametrize("mode", ["transacao", "comando"])
def test_a_pooler_that_moves_sessions_is_refused_by_name(
    lab: Lab, through: Callable[[str], Engine], mode: str
) -> None:
    with pytest.raises(SourceError, match=r"pooler.*whole sessions"):
        lab.run(engine=through(mode))


def test_a_policy_that_hides_rows_is_refused_and_nothing_is_half_read(
    lab: Lab, through: Callable[[str], Engine]
) -> None:
    with pytest.raises(RefusedError, match=r"venda: public\.venda: row-level security would hide rows"):
        lab.run(engine=through("metade"))
    assert lab.query("SELECT count() FROM vendas_dw.venda") == [(0,)]
    assert lab.query("SELECT count() FROM vendas_dw.cliente") == [(2,)]


def test_a_pooler_of_whole_sessions_does(lab: Lab, through: Callable[[str], Engine]) -> None:
    """It drops startup options, so the mirror sets everything in the open session, and reads it back in the snapshot."""
    lab.run(engine=through("sessao"))
    lab.assert_equal()
