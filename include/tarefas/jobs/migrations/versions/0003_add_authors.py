"""Who created a job, and who changed it last: users of Airflow. NULL for a change by hand, in SQL."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns."""
    op.execute("ALTER TABLE jobs ADD COLUMN created_by text, ADD COLUMN changed_by text")


def downgrade() -> None:
    """Drop the columns."""
    op.execute("ALTER TABLE jobs DROP COLUMN created_by, DROP COLUMN changed_by")
