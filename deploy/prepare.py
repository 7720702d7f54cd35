"""Brings Airflow's metadata database to this version, with its roles, its first user and the pools.

    ADMIN_USER=… ADMIN_PASSWORD=… python -m local.prepare

One process for what `airflow db migrate`, `airflow sync-perm` and `airflow users create` do in three: each
of them imports Airflow for seconds, and the last takes a password only in its arguments or from a terminal.
Runs in the environment of the deployment and may run any number of times.
"""

from __future__ import annotations

import os

from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from airflow.utils.db import initdb

from include.conventions import pools


def main() -> None:
    """Migrate, create the pools, synchronise the roles, and create the user or give it its password again."""
    user, password = os.environ["ADMIN_USER"], os.environ["ADMIN_PASSWORD"]
    initdb()
    pools.create()
    with get_application_builder() as builder:
        security = builder.sm
        security.sync_roles()
        if found := security.find_user(user):
            security.reset_password(found.id, password)
        else:
            security.add_user(
                user, "Local", "Admin", f"{user}@example.com", security.find_role("Admin"), password
            )


if __name__ == "__main__":
    main()
