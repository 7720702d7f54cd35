-- A person who changes a job has seen its error, so the error is cleared.
UPDATE jobs
SET task = %(task)s, args = %(args)s, kwargs = %(kwargs)s, cron = %(cron)s, timezone = %(timezone)s,
    queue = %(queue)s, enabled = %(enabled)s, missed = %(missed)s, next_run_at = %(next_run_at)s,
    last_error = NULL, told_by = NULL, changed_by = %(by)s
WHERE name = %(name)s
RETURNING *
