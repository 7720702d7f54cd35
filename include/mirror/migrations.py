"""Creates and alters the mirror's own tables in the warehouse, such as the ledger, by numbered migrations.

The files are in `include/sql/mirror/migrations/`. The warehouse's table `migracoes` notes which have been applied. A run
applies the others in order before it does anything else. Every statement can be repeated: after a crash, the next run
applies the rest, and two runs that begin together do no harm. A released file is never changed, because it has been applied
somewhere. A new file only adds tables or columns with a default, so that an older version of the mirror still works.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from include.mirror import names
from include.mirror.templates import FOLDER, render
from include.mirror.warehouse.client import SETTINGS, Warehouse
from include.mirror.warehouse.cluster import PUBLISH_SETTINGS

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

log = logging.getLogger(__name__)

TABLE = "migracoes"

_FOLDER = FOLDER / "migrations"
_FILE = re.compile(r"(?P<number>\d{4})_(?P<name>\w+)")


class Migration(NamedTuple):
    """One migration file: the number and the name from its file name."""

    number: int
    name: str

    def statements(self, storage: str, views: str) -> list[str]:
        """Return the file's statements for these two databases. In the file, a line with a semicolon separates them."""

        def own(table: str) -> str:
            return names.ch(storage, table)

        def shown(view: str) -> str:
            return names.ch(views, view)

        text = render(f"migrations/{self.number:04}_{self.name}", own=own, shown=shown)
        return [statement.strip() for statement in re.split(r"^;$", text, flags=re.M)]


def known() -> list[Migration]:
    """Return all migrations in order. Raise ValueError for a file whose name is not a migration's."""
    found = []
    for path in sorted(_FOLDER.iterdir()):
        match = _FILE.fullmatch(path.stem)
        if match is None or path.suffix != ".sql":
            raise ValueError(f"{path.name} is not a migration's name: name it like 0001_what_it_does.sql")
        found.append(Migration(int(match["number"]), match["name"]))
    return found


def apply(warehouse: Warehouse, client: Client, applied: int | None) -> bool:
    """Bring the mirror's own tables to this version. Return whether anything had to be done.

    `applied` is the number of migrations that the warehouse has noted. None means that there is no ledger yet: then all
    migrations run.
    """
    everything = known()
    if applied == len(everything):
        return False
    table = names.ch(warehouse.storage, TABLE)
    warehouse.create(client, render("create_migrations", table=table))
    if warehouse.cluster is not None:
        client.command(f"SYSTEM SYNC REPLICA {table} LIGHTWEIGHT")
    noted = {number for (number,) in client.query(f"SELECT number FROM {table}").result_rows}  # noqa: S608
    missing = [migration for migration in everything if applied is None or migration.number not in noted]
    replicas = {} if warehouse.cluster is None else PUBLISH_SETTINGS
    for migration in missing:
        log.info("%s: migration %04d, %s", warehouse.storage, *migration)
        for statement in migration.statements(warehouse.storage, warehouse.views):
            if statement.startswith("CREATE"):
                warehouse.create(client, statement)
            else:
                client.command(statement, settings=SETTINGS | replicas)
        if migration.number not in noted:
            warehouse.insert(client, TABLE, [migration._asdict()])
    return bool(missing)
