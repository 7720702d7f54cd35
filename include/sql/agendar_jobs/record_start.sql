-- The run of a due time was started. The job moves to its next time, and comes after the other due jobs. Of the runs that
-- have not ended, the oldest and the newest nine are followed: one that hangs hides no newer one, and many are bounded.
UPDATE jobs
SET next_run_at = %(then)s, last_run_at = %(due)s, last_state = 'queued', tried_at = clock_timestamp(),
    last_error = NULL, told_by = NULL,
    open_runs = CASE WHEN cardinality(open_runs) < 10 THEN open_runs ELSE open_runs[1:1] || open_runs[3:] END
        || %(due)s::timestamptz
WHERE id = %(id)s
