-- Run by the evaluator for a chunk of jobs that have ended: those that have not made what they were to make.
SELECT j.id, j.status, j.kind, j.service_required, j.queue, j.attempt, j.max_attempts, j.worker, j.error, j.expires_at, j.run_at, j.started_at,
       j.timeout_seconds, j.trace_id, NULL AS workflow_id, NULL AS run, NULL AS step_name, j.id AS job_id,
       coalesce(j.failed_at, j.cancelled_at, j.completed_at) AS ended_at,
       left(j.result::text, 200) AS result,
       CASE WHEN j.status = 'cancelled' THEN (
           SELECT e.data ->> 'by' FROM jobs_event e
            WHERE e.job_id = j.id AND e.type IN ('cancel_requested', 'cancelled')
            ORDER BY e.id DESC LIMIT 1) END AS cancelled_by
  FROM jobs_job j
 WHERE j.id = ANY (%(ids)s::uuid[])
   AND (j.status <> 'completed'
        OR j.kind = ANY (%(with_output)s::text[])
           AND (j.result IS NULL OR j.result IN ('null', '{}', '[]', '""')
                -- nothing but what is left of base64
                OR CASE WHEN jsonb_typeof(j.result) = 'object'
                        THEN j.result ? '$removed'
                             OR NOT EXISTS (SELECT FROM jsonb_each(j.result) e
                                             WHERE NOT (jsonb_typeof(e.value) = 'object' AND e.value ? '$removed')) END))
