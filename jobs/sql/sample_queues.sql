-- Run by whichever cluster samples, one at a time: what every queue and service has to do, by tenant; what has nothing
-- to do any more is forgotten.
WITH seen AS (
    SELECT CASE WHEN service_required = '' THEN queue ELSE service_required END AS name,
           service_required <> '' AS is_remote,
           coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) AS scope,
           count(*) FILTER (WHERE status = 'queued' AND run_at <= statement_timestamp()) AS due,
           count(*) FILTER (WHERE status = 'queued' AND run_at > statement_timestamp()) AS later,
           count(*) FILTER (WHERE status = 'running') AS running,
           min(run_at) FILTER (WHERE status = 'queued' AND run_at <= statement_timestamp()) AS oldest
      FROM (SELECT queue, service_required, tenant_id, status, run_at FROM jobs_job
             WHERE status = 'queued' AND service_required = ''
            UNION ALL
            SELECT queue, service_required, tenant_id, status, run_at FROM jobs_job
             WHERE status = 'queued' AND service_required <> ''
            UNION ALL
            SELECT queue, service_required, tenant_id, status, run_at FROM jobs_job
             WHERE status = 'running') live
     GROUP BY 1, 2, 3
),
gone AS (
    DELETE FROM jobs_queuegauge g
     WHERE NOT EXISTS (SELECT FROM seen WHERE (seen.name, seen.is_remote, seen.scope) = (g.name, g.is_remote, g.scope))
)
INSERT INTO jobs_queuegauge (name, is_remote, scope, due_count, later_count, running_count, oldest_due_at, sampled_at)
SELECT name, is_remote, scope, due, later, running, oldest, statement_timestamp()
  FROM seen
 ORDER BY name, is_remote, scope
ON CONFLICT (name, is_remote, scope) DO UPDATE
   SET due_count = excluded.due_count,
       later_count = excluded.later_count,
       running_count = excluded.running_count,
       oldest_due_at = excluded.oldest_due_at,
       sampled_at = excluded.sampled_at
