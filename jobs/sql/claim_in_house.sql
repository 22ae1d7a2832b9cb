-- Run by an in-house process that is free: takes the most urgent due job of the tenant whose turn it is and,
-- when it is a light one, more of the same kind, up to its batch size. One statement, so that a claim is one
-- round trip.
--
-- Tenants take turns, from the one behind %(after)s on and around; work of no tenant has its turn as well. So
-- nobody's many jobs hold up another's few, and priorities order a tenant's own jobs. Tenants and priorities
-- are visited one by one, each with one look into the index, and only as many as fill the window: jobs due
-- later never stand before those due now. The window is read without locks and is wider than a batch, so that
-- processes claiming at the same moment each find rows that the others have not locked.
WITH RECURSIVE
queued AS NOT MATERIALIZED (
    SELECT coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) AS tenant,
           id, kind, batch_size, priority, run_at, expires_at
      FROM jobs_job
     WHERE status = 'queued' AND service_required = '' AND queue = %(queue)s
),
turns AS (
    SELECT %(after)s::uuid AS tenant, false AS is_around  -- where the round begins; it comes last, if at all
    UNION ALL
    SELECT next.*
      FROM turns
      CROSS JOIN LATERAL (
          (SELECT tenant, turns.is_around FROM queued
            WHERE tenant > turns.tenant AND (NOT turns.is_around OR tenant <= %(after)s)
            ORDER BY tenant LIMIT 1)
          UNION ALL
          (SELECT tenant, true FROM queued
            WHERE NOT turns.is_around AND tenant <= %(after)s
            ORDER BY tenant LIMIT 1)
           LIMIT 1) next
),
due AS (
    SELECT turn.is_around, turn.tenant, mine.*
      FROM (SELECT * FROM turns WHERE is_around OR tenant > %(after)s) turn
      CROSS JOIN LATERAL (
          WITH RECURSIVE levels AS (
              SELECT 101 AS priority
              UNION ALL
              SELECT next.priority
                FROM levels
                CROSS JOIN LATERAL (
                    SELECT priority FROM queued
                     WHERE tenant = turn.tenant AND priority < levels.priority
                     ORDER BY priority DESC LIMIT 1) next
          )
          SELECT j.*
            FROM levels
            CROSS JOIN LATERAL (
                SELECT id, kind, batch_size, priority, run_at FROM queued
                 WHERE tenant = turn.tenant AND priority = levels.priority AND run_at <= statement_timestamp()
                   AND (expires_at IS NULL OR expires_at > statement_timestamp())
                 ORDER BY run_at, id LIMIT %(window)s) j
           LIMIT %(window)s) mine
     LIMIT %(window)s
),
head AS (
    -- locked, so that a job that another process is about to take doesn't decide what this one looks for
    SELECT due.kind, due.batch_size
      FROM (SELECT * FROM due ORDER BY is_around, tenant, priority DESC, run_at, id) due
      JOIN jobs_job j ON j.id = due.id
     WHERE j.status = 'queued' AND j.run_at <= statement_timestamp()
     ORDER BY due.is_around, due.tenant, due.priority DESC, due.run_at, due.id
     LIMIT 1
       FOR UPDATE OF j SKIP LOCKED
),
picked AS (
    SELECT j.id
      FROM (SELECT due.* FROM due JOIN head USING (kind, batch_size)
             ORDER BY due.is_around, due.tenant, due.priority DESC, due.run_at, due.id) due
      JOIN jobs_job j ON j.id = due.id
     WHERE j.status = 'queued' AND j.run_at <= statement_timestamp()  -- once locked, it may have changed
     ORDER BY due.is_around, due.tenant, due.priority DESC, due.run_at, due.id
     LIMIT (SELECT least(batch_size, %(limit)s) FROM head)
       FOR UPDATE OF j SKIP LOCKED
)
UPDATE jobs_job j
   SET status = 'running',
       attempt = j.attempt + 1,
       lease_token = gen_random_uuid(),
       lease_expires_at = statement_timestamp() + make_interval(secs => %(lease_seconds)s),
       started_at = statement_timestamp(),
       worker = %(worker)s,
       progress = 0,
       is_cleanup_evaluated = false, status_category = '', problem_type = '', problem_details = NULL,
       evaluated_at = NULL
  FROM picked
 WHERE j.id = picked.id
RETURNING j.id, j.lease_token, j.tenant_id, j.kind, j.payload, j.attempt, j.max_attempts,
          j.retry_policy, j.timeout_seconds, j.trace_id, j.request_id, j.actor_id, j.workflow_id
