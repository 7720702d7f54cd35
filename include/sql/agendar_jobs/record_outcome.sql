-- A run has ended; those before it are not followed any more, because a newer outcome is known.
UPDATE jobs
SET outcome = %(outcome)s, outcome_run_at = %(run_at)s, outcome_at = coalesce(%(ended_at)s, clock_timestamp()),
    open_runs = ARRAY(SELECT open_run FROM unnest(open_runs) AS open_run WHERE open_run > %(run_at)s ORDER BY 1)
WHERE id = %(id)s AND %(run_at)s = ANY (open_runs)
