"""A ClickHouse cluster as the mirror needs it: one shard, any number of replicas, every table on each of them.

The SQL files are written for a single server. For a cluster, each CREATE statement is rewritten: `ON CLUSTER` follows the
name, and the engine becomes the replicated one. Paths in Keeper hold names and no UUID, so that a replica that is added
later finds the same path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.mirror.errors import SchemaError, WarehouseError, WarehouseUnavailableError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

PUBLISH_SETTINGS = {
    # An ATTACH returns when every replica has the rows, and fails if one has not. The ledger row is written after it, so
    # no replica has the ledger row without the rows.
    "alter_sync": 2,
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_IDENTIFIER = r"(?:`(?:[^`\\]|\\.)*`|\w+)"
_CREATE = re.compile(
    r"^CREATE (?:OR REPLACE )?(?P<kind>DATABASE|TABLE|VIEW) (?:IF NOT EXISTS )?"
    rf"(?P<name>{_IDENTIFIER}(?:\.{_IDENTIFIER})?)",
    re.M | re.S,
)
_ENGINE = re.compile(r"^ENGINE = (?P<family>\w*MergeTree)(?:\((?P<arguments>[^()]*)\))?$", re.M)
_KEEPER = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"


@dataclass(frozen=True)
class Cluster:
    """A cluster, by its name in the servers' `remote_servers`. Its servers must define the macros `shard` and `replica`.

    Raises ValueError for a name with other characters than letters, digits, `_` and `-`: it becomes part of statements.
    """

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"the cluster's name is {self.name!r}; it must be letters, digits, _ and -, and begin with no digit"
            )

    def render(self, statement: str) -> str:
        """Return a CREATE statement rewritten for the cluster.

        Raises ValueError if it does not create a database, a table of the MergeTree family or a view.
        """
        created, engines = list(_CREATE.finditer(statement)), list(_ENGINE.finditer(statement))
        if len(created) != 1 or len(engines) != (created[0]["kind"] == "TABLE"):
            raise ValueError(f"not a statement that can be rendered for a cluster: {statement[:200]}")
        statement = _CREATE.sub(rf"\g<0> ON CLUSTER `{self.name}`", statement)
        return _ENGINE.sub(_replicated, statement)

    def check(self, client: Client) -> None:
        """Raise WarehouseError unless the server knows the cluster, with a single shard."""
        shards = dict(
            client.query(
                "SELECT cluster, uniqExact(shard_num) FROM system.clusters GROUP BY cluster ORDER BY cluster"
            ).result_rows
        )
        if self.name not in shards:
            raise WarehouseError(
                f"ClickHouse knows no cluster {self.name}; it knows {', '.join(shards) or 'none'}"
            )
        if shards[self.name] != 1:
            raise WarehouseError(
                f"cluster {self.name} has {shards[self.name]} shards; the mirror needs one shard, with any number of "
                "replicas: queries on one shard would miss the rows of the others"
            )

    def check_replicas(self, client: Client, database: str, tables: Iterable[str]) -> None:
        """Raise, before anything is loaded, if publishing could not succeed.

        SchemaError names a table that is not replicated. WarehouseUnavailableError names a table with a replica that is
        down, or that is read-only on this replica.
        """
        found = {
            name: rest
            for name, *rest in client.query(
                "SELECT table, is_readonly, total_replicas, active_replicas FROM system.replicas"
                " WHERE database = {database:String}",
                parameters={"database": database},
            ).result_rows
        }
        for table in tables:
            if table not in found:
                raise SchemaError(
                    f"warehouse table {database}.{table} is not replicated, but the cluster {self.name} is set: it was "
                    "made before; move its rows into one that is (docs/scaling.md)"
                )
            read_only, total, active = found[table]
            if read_only or active < total:
                raise WarehouseUnavailableError(
                    f"warehouse table {database}.{table} has {active} of {total} replicas up"
                    f"{' and is read-only here' if read_only else ''}: bring the others back, or take them out with "
                    "SYSTEM DROP REPLICA"
                )


def _replicated(engine: re.Match[str]) -> str:
    arguments = ", ".join(filter(None, (_KEEPER, engine["arguments"])))
    return f"ENGINE = Replicated{engine['family']}({arguments})"
