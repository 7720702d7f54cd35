-- Skips all due times before the new one.
UPDATE jobs SET next_run_at = %(then)s WHERE id = %(id)s
