-- The job is tried again later. Its policy for missed times decides what it owes by then. An error that is the same as the
-- last one is not reported again.
UPDATE jobs
SET last_error = %(error)s, tried_at = clock_timestamp(),
    told_by = CASE WHEN last_error = %(error)s THEN told_by END
WHERE id = %(id)s
