{# The claims of all plans that are not noted as ended, the latest first. #}
SELECT plan, run_id, planned_at, reads
FROM {{ claims }}
WHERE NOT has_ended AND plan NOT IN (SELECT plan FROM {{ claims }} WHERE has_ended)
ORDER BY planned_at DESC
