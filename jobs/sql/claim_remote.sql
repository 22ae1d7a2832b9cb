-- Run by POST /api/workers/claim: takes up to %(limit)s due jobs of one tenant for the services offered, the
-- most urgent first over all of them, and of each service no more than it has room for. Window and levels as in
-- claim_in_house.sql.
WITH RECURSIVE
queued AS NOT MATERIALIZED (
    SELECT service_required, id, priority, run_at, expires_at
      FROM jobs_job
     WHERE status = 'queued' AND service_required <> '' AND tenant_id = %(tenant)s
),
levels AS (
    SELECT DISTINCT service, room, 101 AS priority
      FROM unnest(%(services)s::text[], %(rooms)s::int[]) AS offered(service, room)
    UNION ALL
    SELECT levels.service, levels.room, next.priority
      FROM levels
      CROSS JOIN LATERAL (
          SELECT priority FROM queued
           WHERE service_required = levels.service AND priority < levels.priority
           ORDER BY priority DESC LIMIT 1) next
),
due AS (
    SELECT j.id, levels.room,
           row_number() OVER (PARTITION BY levels.service ORDER BY j.priority DESC, j.run_at, j.id) AS place
      FROM levels
      CROSS JOIN LATERAL (
          SELECT id, priority, run_at FROM queued
           WHERE service_required = levels.service AND priority = levels.priority
             AND run_at <= statement_timestamp()
             AND (expires_at IS NULL OR expires_at > statement_timestamp())
           ORDER BY run_at, id LIMIT %(window)s) j
),
picked AS (
    SELECT j.id FROM jobs_job j
     -- an array, for the planner takes what comes out of a recursion for many rows, and would scan the table
     WHERE j.id = ANY (ARRAY(SELECT id FROM due WHERE room IS NULL OR place <= room))
       AND j.status = 'queued' AND j.run_at <= statement_timestamp()  -- once locked, it may have changed
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
       progress = 0,
       is_cleanup_evaluated = false, status_category = '', problem_type = '', problem_details = NULL,
       evaluated_at = NULL
  FROM picked
 WHERE j.id = picked.id
RETURNING j.id, j.lease_token, j.lease_expires_at, j.attempt, j.max_attempts, j.service_required, j.payload,
          j.ctx, j.priority, j.run_at, j.timeout_seconds, j.trace_id, j.request_id, j.actor_id,
          (SELECT w.workflow_id FROM jobs_workflow w WHERE w.id = j.workflow_id) AS workflow_id,
          j.workflow_id AS workflow_pk, j.step_index, j.step_name
