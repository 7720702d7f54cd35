"""The last outcome of each job: how its newest run that has ended has ended.

A run may still be in progress when the next one of its job is started, so `last_state` alone may never be final.
`open_runs` has the due times of the runs that have not ended as far as is known, the oldest first.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, and take over what is known of each job's newest run."""
    op.execute("""
        ALTER TABLE jobs
            ADD COLUMN outcome        text,
            ADD COLUMN outcome_run_at timestamptz(0),
            ADD COLUMN outcome_at     timestamptz(0),
            ADD COLUMN open_runs      timestamptz(0)[] NOT NULL DEFAULT '{}',
            ADD CONSTRAINT outcomes_between_2000_and_9000 CHECK (
                outcome_run_at BETWEEN '2000-01-01Z' AND '9000-01-01Z'
                AND outcome_at BETWEEN '2000-01-01Z' AND '9000-01-01Z'
                AND '2000-01-01Z' <= ALL (open_runs)
                AND '9000-01-01Z' >= ALL (open_runs)
            )
    """)
    # The end of that run was not noted; asking Airflow for it again fills it in.
    op.execute("UPDATE jobs SET open_runs = ARRAY[last_run_at] WHERE last_run_at IS NOT NULL")


def downgrade() -> None:
    """Drop the columns."""
    op.execute("""
        ALTER TABLE jobs
            DROP COLUMN outcome,
            DROP COLUMN outcome_run_at,
            DROP COLUMN outcome_at,
            DROP COLUMN open_runs
    """)
