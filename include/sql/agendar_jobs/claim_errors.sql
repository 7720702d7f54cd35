-- Each error is reported by one run only. A retry of that run gets it again.
UPDATE jobs SET told_by = %(run_id)s
WHERE last_error IS NOT NULL AND (told_by IS NULL OR told_by = %(run_id)s)
RETURNING name, last_error
