-- Nobody knows whether the run was started: the job stays due, behind the other jobs.
UPDATE jobs SET tried_at = clock_timestamp() WHERE id = %(id)s
