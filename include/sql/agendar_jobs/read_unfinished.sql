-- Jobs with runs that may have ended by now. In random order, so that no job is always left out by the limit.
SELECT * FROM jobs
WHERE open_runs <> '{}'
ORDER BY random()
LIMIT %(limit)s
