"""Alembic's entry: runs the migrations on the connection that it is handed, and keeps its own version table."""

from __future__ import annotations

from alembic import context

from include.tarefas.jobs.database import VERSIONS

context.configure(connection=context.config.attributes["connection"], version_table=VERSIONS)
with context.begin_transaction():
    context.run_migrations()
