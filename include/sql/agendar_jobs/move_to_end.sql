-- It is not known whether the run was started. So the job stays due, and comes after the other due jobs.
UPDATE jobs SET tried_at = clock_timestamp() WHERE id = %(id)s
