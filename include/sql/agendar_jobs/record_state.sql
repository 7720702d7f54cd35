-- The state of the newest run. Changes nothing if a newer run was started meanwhile.
UPDATE jobs SET last_state = %(state)s WHERE id = %(id)s AND last_run_at = %(run_at)s
