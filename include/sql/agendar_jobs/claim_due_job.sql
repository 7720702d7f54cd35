-- The due job that was tried the longest ago. It is locked until the transaction ends; jobs that another process has locked
-- are skipped. `next_run_at` is NULL for a job that has not been planned yet. A job that could not be started comes after all
-- others, and is tried again ten minutes later at the earliest. Uses the index jobs_due.
SELECT * FROM jobs
WHERE enabled
    AND (next_run_at <= %(now)s OR next_run_at IS NULL)
    AND (last_error IS NULL OR tried_at < %(now)s - interval '10 minutes')
    AND id <> ALL (%(except)s)
ORDER BY last_error IS NOT NULL, tried_at NULLS FIRST, next_run_at NULLS FIRST, id
LIMIT 1
FOR UPDATE SKIP LOCKED
