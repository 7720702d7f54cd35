INSERT INTO jobs (name, task, args, kwargs, cron, timezone, queue, enabled, missed, next_run_at, created_by)
VALUES (
    %(name)s, %(task)s, %(args)s, %(kwargs)s, %(cron)s, %(timezone)s, %(queue)s, %(enabled)s, %(missed)s,
    %(next_run_at)s, %(by)s
)
ON CONFLICT (name) DO NOTHING
RETURNING *
