-- Run by the evaluator: running workflows whose step at hand should have begun, or ended, %(stuck_after)s seconds ago,
-- and are not known as that yet, or not with the cause they have now; and those known as that which have gone on.
SELECT w.id, due.since, verdict.problem, verdict.is_overdue, w.is_cleanup_evaluated,
       coalesce(step.status, 'missing') AS status, step.kind, step.service_required, step.queue, step.attempt,
       step.max_attempts, step.worker, step.started_at, step.timeout_seconds, w.trace_id, w.workflow_id,
       w.attempt AS run, step.step_name, step.id AS job_id, q.paused_at
  FROM jobs_workflow w
  LEFT JOIN LATERAL (
      SELECT * FROM jobs_job j
       WHERE j.workflow_id = w.id AND j.status <> 'completed' ORDER BY j.step_index LIMIT 1) step ON true
  LEFT JOIN jobs_queue q ON q.name = step.queue AND q.is_remote = (step.service_required <> '')
                        AND q.paused_at IS NOT NULL
 CROSS JOIN LATERAL (
      SELECT CASE step.status
                 WHEN 'queued' THEN step.run_at
                 WHEN 'running' THEN step.started_at + make_interval(secs => step.timeout_seconds)
                 -- what should have moved it on has come to nothing: nobody is at the workflow
                 ELSE (SELECT coalesce(max(coalesce(j.completed_at, j.failed_at, j.cancelled_at)), w.created_at)
                         FROM jobs_job j WHERE j.workflow_id = w.id)
             END AS since) due
 CROSS JOIN LATERAL (
      SELECT due.since < statement_timestamp() - make_interval(secs => %(stuck_after)s) AS is_overdue,
             CASE WHEN step.status = 'queued' AND step.service_required = '' AND NOT %(served)s::jsonb ? step.queue
                  THEN 'no_worker'
                  WHEN step.status = 'queued' AND step.service_required <> ''
                       AND NOT %(offered)s::jsonb ? (w.tenant_id::text || ' ' || step.service_required)
                  THEN 'no_worker'
                  ELSE 'stuck' END AS problem) verdict
 WHERE w.status = 'running' AND w.id > %(after)s
   AND CASE WHEN verdict.is_overdue
            THEN NOT w.is_cleanup_evaluated OR w.problem_type <> verdict.problem
                 OR (w.problem_details -> 'where') ? 'paused_at' <> (q.paused_at IS NOT NULL)
                 OR w.problem_details #>> '{where,status}' <> coalesce(step.status, 'missing')
            ELSE w.is_cleanup_evaluated END
 ORDER BY w.id
 LIMIT %(limit)s
