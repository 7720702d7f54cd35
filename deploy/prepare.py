"""Brings Airflow's metadata database to this version, with its pools, its roles and its users.

    ADMIN_PASSWORD=… OPERATOR_PASSWORD=… VIEWER_PASSWORD=… python -m deploy.prepare

The service `init` of docker-compose.yaml and the embedded deployment run this. One process for what `airflow db
migrate`, `airflow sync-perm` and `airflow users create` do in several: each of them imports Airflow for seconds, and
the last takes a password only in its arguments or from a terminal. Runs in the environment of the deployment and may
run any number of times: users that are there get the password and the role of this start.
"""

from __future__ import annotations

import os
import sys

from include.conventions import pools

# The variable with the password of each user, and the role in Airflow.
USERS = {
    "admin": ("ADMIN_PASSWORD", "Admin"),
    "operator": ("OPERATOR_PASSWORD", "Op"),
    "viewer": ("VIEWER_PASSWORD", "Viewer"),
}


def passwords() -> dict[str, str]:
    """Return the password of each user; exit with a message that names the variables which are not set."""
    missing = [variable for variable, _ in USERS.values() if not os.environ.get(variable)]
    if missing:
        sys.exit(f"{', '.join(missing)} not set: each must hold the password of a user")
    return {user: os.environ[variable] for user, (variable, _) in USERS.items()}


def main() -> None:
    """Migrate, create the pools, synchronise the roles, and create the users or give them their passwords again."""
    wanted = passwords()
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.utils.db import initdb

    initdb()
    pools.create()
    with get_application_builder() as builder:
        security = builder.sm
        security.sync_roles()
        for user, password in wanted.items():
            role = security.find_role(USERS[user][1])
            if found := security.find_user(user):
                found.roles = [role]
                security.update_user(found)
                security.reset_password(found.id, password)
            else:
                security.add_user(user, user.title(), "Local", f"{user}@example.com", role, password)


if __name__ == "__main__":
    main()
