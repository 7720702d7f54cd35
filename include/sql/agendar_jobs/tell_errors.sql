-- Each error by one run, which finds it again when it is tried a second time.
UPDATE jobs SET told_by = %(run_id)s
WHERE last_error IS NOT NULL AND (told_by IS NULL OR told_by = %(run_id)s)
RETURNING name, last_error
