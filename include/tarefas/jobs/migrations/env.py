"""Alembic's entry point: run the migrations on the given connection, with a version table of its own name."""

from __future__ import annotations

from alembic import context

from include.tarefas.jobs.database import VERSIONS

context.configure(connection=context.config.attributes["connection"], version_table=VERSIONS)
with context.begin_transaction():
    context.run_migrations()
