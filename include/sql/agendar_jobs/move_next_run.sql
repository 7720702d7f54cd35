-- Leaves out what is due before this time.
UPDATE jobs SET next_run_at = %(then)s WHERE id = %(id)s
