-- Run by a cluster's dispatcher when it has nothing to do: seconds until the next job of its queue is due
-- (zero or less: now), NULL when none is queued. Levels as in claim_in_house.sql.
WITH RECURSIVE levels AS (
    (SELECT priority FROM jobs_job
      WHERE status = 'queued' AND service_required = '' AND queue = %(queue)s
      ORDER BY priority DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT j.priority FROM jobs_job j
             WHERE j.status = 'queued' AND j.service_required = '' AND j.queue = %(queue)s
               AND j.priority < levels.priority
             ORDER BY j.priority DESC LIMIT 1)
      FROM levels WHERE levels.priority IS NOT NULL
)
SELECT extract(epoch FROM min(next.run_at) - statement_timestamp())::float8 AS seconds
  FROM levels
  CROSS JOIN LATERAL (
      SELECT run_at FROM jobs_job
       WHERE status = 'queued' AND service_required = '' AND queue = %(queue)s AND priority = levels.priority
       ORDER BY run_at LIMIT 1) next
