"""Migrates the databases of Airflow and of the jobs to this version, and creates pools, roles and users.

    ADMIN_PASSWORD=… OPERATOR_PASSWORD=… VIEWER_PASSWORD=… python -m deploy.prepare

The service `init` of docker-compose.yaml and the embedded deployment run this. It replaces `airflow db migrate`, `airflow
sync-perm` and `airflow users create`: each of them imports Airflow for seconds, and the last takes a password only as an
argument or from a terminal. It runs in the environment of the deployment, and can be repeated: existing users get the
password and the role again. A second process at the same time waits for the first.

The jobs' database and user come from two connections. `postgres_jobs` names a database and the role that owns it, on the
server of the metadata database (on another server both must exist already). `airflow_api` names a user who may only start
and see runs of `executar_tarefa`. Neither may name a role or user that already serves another purpose, because its password
would be changed.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg

from include.conventions import pools
from include.conventions.connections import conninfo
from include.conventions.errors import ConfigurationError
from include.tarefas.jobs import connections, database
from include.tarefas.jobs.client import DAG

if TYPE_CHECKING:
    from airflow.models.connection import Connection

# The variable with the password of each user, and the role in Airflow.
USERS = {
    "admin": ("ADMIN_PASSWORD", "Admin"),
    "operator": ("OPERATOR_PASSWORD", "Op"),
    "viewer": ("VIEWER_PASSWORD", "Viewer"),
}


def passwords() -> dict[str, str]:
    """Return the password of each user. Exits with a message that names the variables that are not set."""
    missing = [variable for variable, _ in USERS.values() if not os.environ.get(variable)]
    if missing:
        sys.exit(f"{', '.join(missing)} not set: each must hold the password of a user")
    return {user: os.environ[variable] for user, (variable, _) in USERS.items()}


def jobs_connections() -> tuple[Connection, str, str]:
    """Return the connection to the jobs' database, and login and password of the user who starts jobs.

    Exits with a message if a connection is not defined, or has no login or password.
    """
    from airflow.exceptions import AirflowNotFoundException
    from airflow.models.connection import Connection

    def connection(conn_id: str) -> Connection:
        try:
            return Connection.get_connection_from_secrets(conn_id)
        except AirflowNotFoundException:
            sys.exit(f"connection {conn_id} is not defined: set AIRFLOW_CONN_{conn_id.upper()}")

    jobs, api = connection(connections.POSTGRES), connection(connections.API)
    if not api.login or not api.password:
        sys.exit(
            f"connection {connections.API} has no login or no password: it must hold both, of a user of Airflow"
        )
    return jobs, api.login, api.password


def prepare_jobs_database(connection: Connection, metadata: str) -> None:
    """Create the jobs' database and role if they are missing, and migrate the table `jobs` to this version."""
    try:
        wanted = conninfo(connection, connection.extra_dejson)
    except ConfigurationError as error:
        sys.exit(str(error))
    try:
        database.ensure(wanted, metadata)
        database.migrate(wanted)
    except ValueError as error:
        sys.exit(f"connection {connections.POSTGRES}: {error}")
    except psycopg.OperationalError as error:
        sys.exit(f"connection {connections.POSTGRES}: the server refused: {' '.join(str(error).split())}")


def prepare_user(security: Any, user: str, password: str, role: Any) -> None:
    """Create a user of Airflow. An existing user gets this password and only this role."""
    if found := security.find_user(user):
        found.roles = [role]
        security.update_user(found)
        security.reset_password(found.id, password)
    else:
        security.add_user(user, user.title(), "Local", f"{user}@example.com", role, password)


def show_pages_to_viewers(security: Any) -> None:
    """Let the role Viewer read the list of plugins: without it, Airflow's UI has no entry for the project's pages."""
    from airflow.providers.fab.www.security import permissions

    permission = security.create_permission(permissions.ACTION_CAN_READ, permissions.RESOURCE_PLUGIN)
    security.add_permission_to_role(security.find_role("Viewer"), permission)


def prepare_jobs_user(security: Any, user: str, password: str) -> None:
    """Create the user who starts jobs, or set its password again. Exits with a message if the user has other roles."""
    if user in USERS:
        return
    found = security.find_user(user)
    if found and (others := sorted(role.name for role in found.roles if role.name != connections.ROLE)):
        sys.exit(
            f"connection {connections.API}: the user {user} exists, with the role {', '.join(others)};"
            " name a user that has no other use"
        )
    prepare_user(security, user, password, jobs_role(security))


def jobs_role(security: Any) -> Any:
    """Return the role of the user who starts jobs, with exactly the permissions that it needs."""
    from airflow.providers.fab.www.security import permissions

    dag = permissions.resource_name(DAG, permissions.RESOURCE_DAG)
    runs = permissions.resource_name(DAG, permissions.RESOURCE_DAG_RUN)
    wanted = [
        security.create_permission(action, resource)
        for action, resource in (
            (permissions.ACTION_CAN_READ, dag),
            # Airflow requires it to create a run, besides the permission to create runs. It would also allow to pause the
            # DAG, which the middleware OnlyStarts in include/tarefas/api refuses.
            (permissions.ACTION_CAN_EDIT, dag),
            (permissions.ACTION_CAN_READ, runs),
            (permissions.ACTION_CAN_CREATE, runs),
        )
    ]
    role = security.add_role(connections.ROLE)
    role.permissions = wanted
    security.update_role(role.id, connections.ROLE)
    return role


def main() -> None:
    """Migrate, create the pools, synchronise the roles, create the users or set their passwords again."""
    wanted = passwords()
    jobs, jobs_user, jobs_password = jobs_connections()
    from airflow.configuration import conf
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.utils.db import initdb

    metadata = database.libpq(conf.get_mandatory_value("database", "sql_alchemy_conn"))
    with ExitStack() as stack:
        try:
            stack.enter_context(database.exclusive(metadata))
        except psycopg.OperationalError as error:
            sys.exit(f"the metadata database can't be reached: {' '.join(str(error).split())}")
        initdb()
        pools.create()
        prepare_jobs_database(jobs, metadata)
        with get_application_builder() as builder:
            security = builder.sm
            security.sync_roles()
            show_pages_to_viewers(security)
            for user, password in wanted.items():
                prepare_user(security, user, password, security.find_role(USERS[user][1]))
            prepare_jobs_user(security, jobs_user, jobs_password)


if __name__ == "__main__":
    main()
