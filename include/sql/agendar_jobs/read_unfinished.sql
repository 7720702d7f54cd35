-- Jobs whose last run may have another state by now. In random order, so that no job is always left out by the limit.
SELECT * FROM jobs
WHERE last_state IN ('queued', 'running')
ORDER BY random()
LIMIT %(limit)s
