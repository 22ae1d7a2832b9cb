-- Run by the evaluator: jobs outside workflows that should have begun, or ended, %(stuck_after)s seconds ago, and are
-- not known as that yet, or not with the cause they have now. Nothing is locked: claims go on. Each branch walks a
-- partial index of live jobs; materialised, so that nobody thinks of walking all jobs in the order of their ids instead.
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
)
SELECT j.id, o.since, verdict.problem, true AS is_overdue, j.is_cleanup_evaluated, j.status, j.kind, j.service_required,
       j.queue, j.attempt, j.max_attempts, j.worker, j.started_at, j.timeout_seconds, j.trace_id, NULL AS workflow_id,
       NULL AS run, NULL AS step_name, j.id AS job_id, q.paused_at
  FROM overdue o
  JOIN jobs_job j USING (id)
  LEFT JOIN jobs_queue q ON q.name = j.queue AND q.is_remote = (j.service_required <> '') AND q.paused_at IS NOT NULL
 CROSS JOIN LATERAL (
     SELECT CASE WHEN j.status = 'running' THEN 'stuck'
                 WHEN j.service_required = '' AND NOT %(served)s::jsonb ? j.queue THEN 'no_worker'
                 WHEN j.service_required <> ''
                      AND NOT %(offered)s::jsonb ? (j.tenant_id::text || ' ' || j.service_required) THEN 'no_worker'
                 ELSE 'stuck' END AS problem) verdict
 WHERE j.id > %(after)s
   AND (NOT j.is_cleanup_evaluated OR j.problem_type <> verdict.problem
        OR (j.problem_details -> 'where') ? 'paused_at' <> (q.paused_at IS NOT NULL))
 ORDER BY j.id
 LIMIT %(limit)s
