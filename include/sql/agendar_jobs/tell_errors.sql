-- Each error once.
UPDATE jobs SET error_told = true
WHERE last_error IS NOT NULL AND NOT error_told
RETURNING name, last_error
