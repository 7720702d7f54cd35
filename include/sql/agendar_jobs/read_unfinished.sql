-- Jobs whose last run may have moved on since somebody looked. In any order, so that none is always left for later.
SELECT * FROM jobs
WHERE last_state IN ('queued', 'running')
ORDER BY random()
LIMIT %(limit)s
