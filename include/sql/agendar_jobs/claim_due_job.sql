-- The due job that was tried the longest ago, locked until the transaction ends; one that another process holds is
-- passed over. `next_run_at` is empty for a job that has not been planned yet. One that could not be started comes behind
-- all others, and not before its reason has had time to pass. Uses the index jobs_due.
SELECT * FROM jobs
WHERE enabled
    AND (next_run_at <= %(now)s OR next_run_at IS NULL)
    AND (last_error IS NULL OR tried_at < %(now)s - interval '10 minutes')
    AND id <> ALL (%(except)s)
ORDER BY last_error IS NOT NULL, tried_at NULLS FIRST, next_run_at NULLS FIRST, id
LIMIT 1
FOR UPDATE SKIP LOCKED
