-- The job is tried again later. What it owes by then is decided by its policy for missed times. The same error again is
-- no news.
UPDATE jobs
SET last_error = %(error)s, tried_at = clock_timestamp(),
    told_by = CASE WHEN last_error = %(error)s THEN told_by END
WHERE id = %(id)s
