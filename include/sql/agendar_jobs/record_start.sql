-- The run of a due time was started. The job moves to its next time, and comes after the other due jobs.
UPDATE jobs
SET next_run_at = %(then)s, last_run_at = %(due)s, last_state = 'queued', tried_at = clock_timestamp(),
    last_error = NULL, told_by = NULL
WHERE id = %(id)s
