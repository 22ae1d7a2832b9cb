-- Run by the evaluator: jobs outside workflows that should have begun, or ended, %(stuck_after)s seconds ago, and are
-- not known as that yet. Each branch walks a partial index of live jobs; materialised, so that nobody thinks of
-- walking all jobs in the order of their ids instead.
WITH overdue AS MATERIALIZED (
    SELECT id, run_at AS since FROM jobs_job
     WHERE status = 'queued' AND service_required = '' AND workflow_id IS NULL
       AND run_at < statement_timestamp() - make_interval(secs => %(stuck_after)s)
    UNION ALL
    SELECT id, run_at FROM jobs_job
     WHERE status = 'queued' AND NOT (service_required = '') AND workflow_id IS NULL
       AND run_at < statement_timestamp() - make_interval(secs => %(stuck_after)s)
    UNION ALL
    SELECT id, started_at + make_interval(secs => timeout_seconds) FROM jobs_job
     WHERE status = 'running' AND workflow_id IS NULL
       AND started_at + make_interval(secs => timeout_seconds + %(stuck_after)s) < statement_timestamp()
),
offered AS (
    SELECT DISTINCT tenant_id, unnest(services) AS service FROM jobs_worker
     WHERE last_seen_at > statement_timestamp() - make_interval(secs => %(online_within)s)
    UNION
    SELECT tenant_id, service_required FROM jobs_job WHERE status = 'running' AND lease_expires_at > statement_timestamp()
),
served AS (
    SELECT DISTINCT queue FROM jobs_cluster
     WHERE problem = '' AND beat_at > statement_timestamp() - make_interval(secs => %(beats_within)s)
),
known AS (
    SELECT j.id, j.status, j.attempt, overdue.since, j.is_cleanup_evaluated, j.problem_type,
           CASE WHEN j.status = 'running' THEN 'stuck'
                WHEN j.service_required = '' AND NOT EXISTS (SELECT FROM served WHERE served.queue = j.queue)
                THEN 'no_worker'
                WHEN j.service_required <> '' AND NOT EXISTS (
                    SELECT FROM offered WHERE offered.tenant_id = j.tenant_id AND offered.service = j.service_required)
                THEN 'no_worker'
                ELSE 'stuck' END AS problem
      FROM overdue
      JOIN jobs_job j USING (id)
     WHERE j.id > %(after)s
)
SELECT j.id, known.since, known.problem, j.status, j.kind, j.service_required, j.queue, j.attempt, j.max_attempts,
       j.worker, j.started_at, j.timeout_seconds, j.trace_id, NULL AS workflow_id, NULL AS run, NULL AS step_name,
       j.id AS job_id, true AS is_overdue,
       (SELECT q.paused_at FROM jobs_queue q
         WHERE q.name = j.queue AND q.is_remote = (j.service_required <> '')) AS paused_at
  FROM known
  JOIN jobs_job j USING (id)
 WHERE (NOT known.is_cleanup_evaluated OR known.problem_type <> known.problem)
   AND j.status = known.status AND j.attempt = known.attempt  -- once locked, it may have changed
 ORDER BY j.id
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF j SKIP LOCKED
