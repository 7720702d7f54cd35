"""Jobs: calls of automations at the times of a cron expression, stored in PostgreSQL."""
