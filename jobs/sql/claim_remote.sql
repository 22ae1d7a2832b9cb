-- Run by POST /api/workers/claim: takes up to %(limit)s due jobs of one tenant for the services offered, the
-- most urgent first over all of them. Window and levels as in claim_in_house.sql.
WITH RECURSIVE
levels AS (
    SELECT s.service, (SELECT priority FROM jobs_job
                        WHERE status = 'queued' AND service_required <> '' AND tenant_id = %(tenant)s
                          AND service_required = s.service
                        ORDER BY priority DESC LIMIT 1) AS priority
      FROM unnest(%(services)s::text[]) AS s(service)
    UNION ALL
    SELECT levels.service, (SELECT j.priority FROM jobs_job j
                             WHERE j.status = 'queued' AND j.service_required <> '' AND j.tenant_id = %(tenant)s
                               AND j.service_required = levels.service AND j.priority < levels.priority
                             ORDER BY j.priority DESC LIMIT 1)
      FROM levels WHERE levels.priority IS NOT NULL
),
due AS (
    SELECT j.id, j.priority, j.run_at
      FROM levels
      CROSS JOIN LATERAL (
          SELECT id, priority, run_at FROM jobs_job
           WHERE status = 'queued' AND service_required <> '' AND tenant_id = %(tenant)s
             AND service_required = levels.service
             AND priority = levels.priority AND run_at <= statement_timestamp()
           ORDER BY run_at, id LIMIT %(window)s) j
),
picked AS (
    SELECT j.id FROM jobs_job j
      JOIN due ON due.id = j.id
     WHERE j.status = 'queued' AND j.run_at <= statement_timestamp()  -- once locked, it may have changed
     ORDER BY j.priority DESC, j.run_at, j.id
     LIMIT %(limit)s
       FOR UPDATE OF j SKIP LOCKED
)
UPDATE jobs_job j
   SET status = 'running',
       attempt = j.attempt + 1,
       lease_token = gen_random_uuid(),
       lease_expires_at = statement_timestamp() + make_interval(secs => %(lease_seconds)s),
       started_at = statement_timestamp(),
       worker = %(worker)s,
       progress = 0
  FROM picked
 WHERE j.id = picked.id
RETURNING j.id, j.lease_token, j.lease_expires_at, j.attempt, j.max_attempts, j.service_required, j.payload,
          j.ctx, j.priority, j.run_at, j.timeout_seconds, j.trace_id, j.request_id, j.actor_id,
          (SELECT w.workflow_id FROM jobs_workflow w WHERE w.id = j.workflow_id) AS workflow_id,
          j.step_index, j.step_name
