-- Run by the evaluator: running workflows whose step at hand should have begun, or ended, %(stuck_after)s seconds ago,
-- and are not known as that yet; and those known as that which have gone on since.
WITH offered AS (
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
    SELECT w.id, w.is_cleanup_evaluated, w.problem_type, step.id AS job_id, due.since,
           due.since < statement_timestamp() - make_interval(secs => %(stuck_after)s) AS is_overdue,
           CASE WHEN step.status = 'queued' AND step.service_required = ''
                     AND NOT EXISTS (SELECT FROM served WHERE served.queue = step.queue)
                THEN 'no_worker'
                WHEN step.status = 'queued' AND step.service_required <> '' AND NOT EXISTS (
                    SELECT FROM offered
                     WHERE offered.tenant_id = w.tenant_id AND offered.service = step.service_required)
                THEN 'no_worker'
                ELSE 'stuck' END AS problem
      FROM jobs_workflow w
      LEFT JOIN LATERAL (
          SELECT * FROM jobs_job j
           WHERE j.workflow_id = w.id AND j.status <> 'completed' ORDER BY j.step_index LIMIT 1) step ON true
     CROSS JOIN LATERAL (
          SELECT CASE step.status
                     WHEN 'queued' THEN step.run_at
                     WHEN 'running' THEN step.started_at + make_interval(secs => step.timeout_seconds)
                     -- what should have moved it on has come to nothing: nobody is at the workflow
                     ELSE (SELECT coalesce(max(coalesce(j.completed_at, j.failed_at, j.cancelled_at)), w.created_at)
                             FROM jobs_job j WHERE j.workflow_id = w.id)
                 END AS since) due
     WHERE w.status = 'running' AND w.id > %(after)s
)
SELECT w.id, known.since, known.problem, coalesce(j.status, 'missing') AS status, j.kind, j.service_required, j.queue,
       j.attempt, j.max_attempts, j.worker, j.started_at, j.timeout_seconds, w.trace_id, w.workflow_id,
       w.attempt AS run, j.step_name, j.id AS job_id, known.is_overdue,
       (SELECT q.paused_at FROM jobs_queue q
         WHERE q.name = j.queue AND q.is_remote = (j.service_required <> '')) AS paused_at
  FROM known
  JOIN jobs_workflow w USING (id)
  LEFT JOIN jobs_job j ON j.id = known.job_id
 WHERE w.status = 'running'  -- once locked, it may have changed
   AND CASE WHEN known.is_overdue THEN NOT known.is_cleanup_evaluated OR known.problem_type <> known.problem
                 ELSE known.is_cleanup_evaluated END
 ORDER BY w.id
 LIMIT %(limit)s
   FOR NO KEY UPDATE OF w SKIP LOCKED
