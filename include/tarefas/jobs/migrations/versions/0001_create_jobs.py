"""The table of the jobs.

`timestamptz(0)`, because a run's id has the due time in seconds. `next_run_at` is NULL for a job without a next due time:
one that was inserted by hand, or one that is not enabled. The columns after `last_error` are for `agendar_jobs` itself:
which run has reported the error, and when the job was last tried, which decides the order.

Times have bounds, because PostgreSQL has values that Python does not have, such as `-infinity`. One such row would make
every read of the table fail.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table, and the index that the search for due jobs uses."""
    op.execute("""
        CREATE TABLE jobs (
            id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name        text NOT NULL UNIQUE CHECK (name ~ '^[A-Za-z0-9_.-]{1,100}$' AND name !~ '[.][.]|^[.]$'),
            task        text NOT NULL,
            args        jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(args) = 'array'),
            kwargs      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(kwargs) = 'object'),
            cron        text NOT NULL,
            timezone    text NOT NULL DEFAULT 'UTC',
            queue       text NOT NULL DEFAULT 'default',
            enabled     boolean NOT NULL DEFAULT true,
            missed      text NOT NULL DEFAULT 'once' CHECK (missed IN ('skip', 'once', 'all')),
            next_run_at timestamptz(0),
            last_run_at timestamptz(0),
            last_state  text,
            last_error  text,
            told_by     text,
            tried_at    timestamptz,
            CONSTRAINT times_between_2000_and_9000 CHECK (
                next_run_at BETWEEN '2000-01-01Z' AND '9000-01-01Z'
                AND last_run_at BETWEEN '2000-01-01Z' AND '9000-01-01Z'
                AND tried_at BETWEEN '2000-01-01Z' AND '9000-01-01Z'
            )
        )
    """)
    op.execute("CREATE INDEX jobs_due ON jobs (next_run_at) WHERE enabled")


def downgrade() -> None:
    """Drop the table, with all jobs."""
    op.execute("DROP TABLE jobs")
