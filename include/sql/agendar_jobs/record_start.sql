-- The run of a due time is there: on to the next one, behind the other jobs.
UPDATE jobs
SET next_run_at = %(then)s, last_run_at = %(due)s, last_state = 'queued', tried_at = clock_timestamp(),
    last_error = NULL, told_by = NULL
WHERE id = %(id)s
