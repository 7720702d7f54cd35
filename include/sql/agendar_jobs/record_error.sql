-- The job is not tried again until somebody changes it. What it owes by then is decided by its policy for missed times.
UPDATE jobs SET last_error = %(error)s, told_by = NULL, tried_at = clock_timestamp() WHERE id = %(id)s
