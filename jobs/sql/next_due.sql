-- Run by a cluster's dispatcher when it has nothing to do: seconds until the next job of its queue is due
-- (zero: now), NULL when none is queued or the queue may run none now, paused or full. Tenants and
-- priorities as in claim_in_house.sql.
WITH RECURSIVE
queued AS NOT MATERIALIZED (
    SELECT coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) AS tenant, priority, run_at
      FROM jobs_job
     WHERE status = 'queued' AND service_required = '' AND queue = %(queue)s
),
lanes AS (
    (SELECT tenant, priority FROM queued ORDER BY tenant, priority DESC LIMIT 1)
    UNION ALL
    SELECT next.*
      FROM lanes
      CROSS JOIN LATERAL (
          (SELECT tenant, priority FROM queued
            WHERE tenant = lanes.tenant AND priority < lanes.priority
            ORDER BY priority DESC LIMIT 1)
          UNION ALL
          (SELECT tenant, priority FROM queued
            WHERE tenant > lanes.tenant
            ORDER BY tenant, priority DESC LIMIT 1)
           LIMIT 1) next
),
next AS (
    SELECT first.run_at
      FROM lanes
      CROSS JOIN LATERAL (
          SELECT run_at FROM queued
           WHERE tenant = lanes.tenant AND priority = lanes.priority
           ORDER BY run_at LIMIT 1) first
)
SELECT CASE
       WHEN EXISTS (
           SELECT FROM jobs_queue
            WHERE name = %(queue)s AND NOT is_remote
              AND (paused_at IS NOT NULL
                   OR max_running <= (SELECT count(*) FROM jobs_job
                                       WHERE status = 'running' AND service_required = ''
                                         AND queue = %(queue)s)))
       THEN NULL
       -- that something is due shows as a rule in the first lane; only an idle queue looks through all
       WHEN EXISTS (SELECT FROM next WHERE run_at <= statement_timestamp())
       THEN 0
       ELSE (SELECT extract(epoch FROM min(run_at) - statement_timestamp()) FROM next)
       END::float8 AS seconds
