"""The SQL for a ClickHouse cluster: it is rendered, parsed by the real engine, and sent in the order that replicas need.

There is no cluster here. docs/scaling.md explains what two replicas do with these statements; these tests don't show it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from include.airflow_mirror import settings
from include.mirror import contract, migrations
from include.mirror.engine import Engine
from include.mirror.errors import SchemaError, WarehouseError
from include.mirror.warehouse.client import Warehouse
from include.mirror.warehouse.cluster import Cluster
from include.vendas.tables import VENDAS
from tests.lab import Lab

CLUSTER = Cluster("vendas-2026")
TABLES = VENDAS.names
ON_CLUSTER = " ON CLUSTER `vendas-2026`"
KEEPER = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"


OWN = ["migracoes"] + [
    statement
    for migration in migrations.known()
    for statement in migration.statements("vendas_raw", "vendas_dw")
    if statement.startswith("CREATE")
]
"""The files that create the mirror's own tables."""


@pytest.fixture
def created(lab: Lab) -> list[str]:
    """The CREATE statements of a first run on a single server, without those of stages."""
    statements: list[str] = []
    connect = lambda: AsIfReplicated(lab.clickhouse.client(), statements, 0, (0, 0, 0))  # noqa: E731
    lab.run(engine=lab.engine(warehouse=Warehouse(connect, VENDAS.storage, VENDAS.views)))
    return [
        one.split(" SETTINGS {")[0]
        for one in statements
        if re.match(r"CREATE ", one) and "`stage__" not in one
    ]


@pytest.fixture
def engine(clickhouse: Any) -> Iterator[Any]:
    client = clickhouse.client()
    client.command("CREATE DATABASE IF NOT EXISTS replicated")
    yield client
    client.close()


def parsed(client: Any, statement: str) -> str:
    """Return a statement as the engine's parser prints it. Raises if the parser can't read it."""
    result = client.query(
        "SELECT formatQuerySingleLine({statement:String})", parameters={"statement": statement}
    )
    return str(result.result_rows[0][0])


def test_the_engine_reads_every_rendered_statement_and_only_misses_the_cluster(
    engine: Any, created: list[str]
) -> None:
    assert len(created) == 2 + len(OWN) + 1 + 2 * len(TABLES)
    for statement in created:
        rendered = CLUSTER.render(statement)
        assert parsed(engine, rendered).count(ON_CLUSTER) == 1
        with pytest.raises(DatabaseError, match="Requested cluster 'vendas-2026' not found"):
            engine.command(rendered)


def test_the_engine_accepts_the_replicated_tables_and_only_misses_a_keeper(
    engine: Any, created: list[str]
) -> None:
    tables = [one for one in created if one.startswith("CREATE TABLE")]
    assert len(tables) == sum(not one.startswith("CREATE OR") for one in OWN) + len(TABLES)
    for statement in tables:
        kind = (
            "ReplacingMergeTree"
            if any(f"`{name}`" in statement.split("(")[0] for name in TABLES)
            else "MergeTree"
        )
        rendered = CLUSTER.render(statement)
        assert f"ENGINE = Replicated{kind}({KEEPER}" in rendered
        here = (
            rendered.replace(ON_CLUSTER, "")
            .replace("`vendas_raw`.", "replicated.")
            .replace("{shard}", "1")
            .replace("{replica}", "one")
        )
        with pytest.raises(DatabaseError, match="Can't create replicated table without ZooKeeper"):
            engine.command(here)
        # ClickHouse checks the engine's arguments before it raises this error.
        if kind == "ReplacingMergeTree":
            with pytest.raises(DatabaseError, match="nowhere does not exist"):
                engine.command(here.replace("`version`, `is_deleted`)", "version, nowhere)"))


@pytest.mark.parametrize("name", ["", "1st", "a b", "a`b", "a'b", "ção", "a;b", "{cluster}", "a\n"])
def test_a_name_that_could_be_sql_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="the cluster's name is"):
        Cluster(name)
    if name:
        monkeypatch.setenv("ETL_VENDAS_CLUSTER", name)
        with pytest.raises(ValueError, match=r"ETL_VENDAS_CLUSTER is .*; it must be a name of letters"):
            settings.load(VENDAS.name)


def test_the_setting_is_empty_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load(VENDAS.name).cluster is None
    monkeypatch.setenv("ETL_VENDAS_CLUSTER", "")
    assert settings.load(VENDAS.name).cluster is None
    monkeypatch.setenv("ETL_VENDAS_CLUSTER", "vendas-2026")
    assert settings.load(VENDAS.name).cluster == CLUSTER


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "DROP TABLE vendas_raw.venda",
        "CREATE TABLE a.b (c UInt8) ENGINE = Memory",
        "CREATE TABLE a.b\n(c UInt8)\nENGINE = MergeTree\nORDER BY c;\nCREATE VIEW a.d AS SELECT 1",
        "CREATE VIEW a.b AS\nSELECT '\nENGINE = MergeTree\n'",
    ],
)
def test_what_can_not_be_rendered_is_refused_rather_than_sent_to_one_replica(statement: str) -> None:
    with pytest.raises(ValueError, match="not a statement that can be rendered"):
        CLUSTER.render(statement)


class AsIfReplicated:
    """A client of one server that behaves like a replica of the cluster.

    It keeps every statement, and removes the parts that need a cluster before it sends it. `replicas` are the rows of
    `system.replicas`, without the table's name.
    """

    def __init__(
        self, client: Any, statements: list[str], shards: int, replicas: tuple[int, int, int]
    ) -> None:
        self.client, self.statements = client, statements
        self.shards, self.replicas = shards, replicas

    def command(self, statement: str, settings: dict[str, Any] | None = None, **more: Any) -> Any:
        self._keep(statement, settings)
        if statement.startswith("SYSTEM SYNC REPLICA "):
            assert parsed(self.client, statement) == statement.replace("`", "")
            return None
        plain = statement.replace(ON_CLUSTER, "").replace("ENGINE = Replicated", "ENGINE = ")
        plain = plain.replace(f"({KEEPER}, ", "(").replace(f"({KEEPER})", "")
        return self.client.command(plain, settings=settings, **more)

    def query(self, statement: str, **more: Any) -> Any:
        self._keep(statement, more.get("settings"))
        answer = self.client.query(statement, **more)
        if "FROM system.clusters" in statement:
            return SimpleNamespace(result_rows=[("other", 1), (CLUSTER.name, self.shards)])
        if "FROM system.replicas" in statement:
            tables = ["cargas", *TABLES]
            return SimpleNamespace(result_rows=[(table, *self.replicas) for table in tables])
        return answer

    def _keep(self, statement: str, settings: dict[str, Any] | None) -> None:
        self.statements.append(f"{statement} SETTINGS {settings or {}}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


@pytest.fixture
def replica(lab: Lab) -> Callable[..., tuple[Engine, list[str]]]:
    """Return a function that gives a mirror on such a replica, and the list of statements that it sends."""

    def make(shards: int = 1, replicas: tuple[int, int, int] = (0, 2, 2)) -> tuple[Engine, list[str]]:
        statements: list[str] = []
        connect = lambda: AsIfReplicated(lab.clickhouse.client(), statements, shards, replicas)  # noqa: E731
        return lab.engine(warehouse=Warehouse(connect, VENDAS.storage, VENDAS.views, CLUSTER)), statements

    return make


def test_a_whole_run_sends_what_replicas_need(lab: Lab, replica: Callable[..., Any]) -> None:
    with lab.connect() as connection:
        lab.sell(connection, "12.34")
    mirror, statements = replica()
    planned = lab.plan((lab.now(), lab.now()), engine=mirror)
    assert lab.move(planned, mirror)["venda"] == 1
    lab.assert_equal()

    created = [one for one in statements if re.search(r"^CREATE ", one, re.M)]
    stages = [one for one in created if "stage__" in one]
    assert {ON_CLUSTER in one for one in created if one not in stages} == {True}
    assert len(created) - len(stages) == 2 + len(OWN) + 1 + 2 * len(TABLES)
    assert stages
    for stage in stages:
        assert "ENGINE = MergeTree" in stage
        assert "ON CLUSTER" not in stage

    published = [one for one in statements if "ATTACH PARTITION" in one]
    assert published
    for one in published:
        assert "ON CLUSTER" not in one
        assert "'alter_sync': 2" in one
    reads = 0
    for place, one in enumerate(statements):
        if "FROM `vendas_raw`.`cargas`" in one and "VIEW" not in one:
            assert statements[place - 1].startswith("SYSTEM SYNC REPLICA `vendas_raw`.`cargas` LIGHTWEIGHT")
            reads += 1
    assert reads >= 4  # coverage, owed rows, the newest version, done reads


def test_the_next_run_creates_nothing_on_the_cluster(lab: Lab, replica: Callable[..., Any]) -> None:
    lab.run(engine=replica()[0])
    mirror, statements = replica()
    lab.run(engine=mirror)
    assert len(statements) > 10
    assert not [one for one in statements if "ON CLUSTER" in one]


def test_a_view_that_lags_behind_is_replaced_on_all_replicas(lab: Lab, replica: Callable[..., Any]) -> None:
    mirror, statements = replica()
    lab.run(engine=mirror)
    statements.clear()
    with mirror.warehouse.client() as client:
        client.command("CREATE OR REPLACE VIEW vendas_dw.pais AS SELECT pais_id FROM vendas_raw.pais FINAL")
        contents = contract.read(mirror.warehouse, client)
        contract.create_view(mirror.warehouse, client, lab.spec("pais"), contents.views["pais"])
    assert f"CREATE OR REPLACE VIEW `vendas_dw`.`pais`{ON_CLUSTER} AS" in statements[-1]


@pytest.mark.parametrize(
    ("pretended", "message"),
    [
        ({"shards": 2}, "cluster vendas-2026 has 2 shards; the mirror needs one"),
        ({"replicas": (0, 3, 2)}, "vendas_raw.cargas has 2 of 3 replicas up: bring the others back"),
        ({"replicas": (1, 2, 2)}, "vendas_raw.cargas has 2 of 2 replicas up and is read-only here"),
    ],
)
def test_a_cluster_that_can_not_keep_the_guarantees_is_refused_before_anything_is_loaded(
    lab: Lab, replica: Callable[..., Any], pretended: dict[str, Any], message: str
) -> None:
    mirror, statements = replica(**pretended)
    with pytest.raises(WarehouseError, match=message):
        lab.plan((lab.now(), lab.now()), engine=mirror)
    assert not [one for one in statements if "stage__" in one or "ATTACH" in one]


def test_an_unknown_cluster_is_named(lab: Lab) -> None:
    mirror = lab.engine(warehouse=Warehouse(lab.clickhouse.client, VENDAS.storage, VENDAS.views, CLUSTER))
    with pytest.raises(WarehouseError, match="ClickHouse knows no cluster vendas-2026; it knows none"):
        lab.plan((lab.now(), lab.now()), engine=mirror)


def test_tables_made_before_the_cluster_was_set_are_refused(lab: Lab) -> None:
    lab.run()
    with lab.engine().warehouse.client() as client, pytest.raises(SchemaError) as refused:
        CLUSTER.check_replicas(client, "vendas_raw", ["venda"])
    assert str(refused.value).startswith(
        "warehouse table vendas_raw.venda is not replicated, but the cluster"
    )


def test_without_the_setting_not_one_statement_knows_of_a_cluster(lab: Lab) -> None:
    statements: list[str] = []
    connect = lambda: AsIfReplicated(lab.clickhouse.client(), statements, 0, (0, 0, 0))  # noqa: E731
    lab.run(engine=lab.engine(warehouse=Warehouse(connect, VENDAS.storage, VENDAS.views)))
    text = "\n".join(statements)
    assert "CREATE TABLE IF NOT EXISTS `vendas_raw`.`venda`\n" in text
    assert not re.search(
        "ON CLUSTER|Replicated|SYNC REPLICA|alter_sync|system.replicas|system.clusters", text
    )
