-- Run by the evaluator for a chunk of workflows that have ended: those that have not made what they were to make, with
-- the step that decided it. A generation makes what a collection says, and its outputs are URLs.
SELECT w.id, w.status, step.kind, step.service_required, step.queue, step.attempt, step.max_attempts, step.worker,
       coalesce(step.error, w.error) AS error, step.expires_at, step.run_at, step.started_at, step.timeout_seconds, w.trace_id, w.workflow_id,
       w.attempt AS run, step.step_name, step.id AS job_id,
       coalesce(w.failed_at, w.cancelled_at, w.completed_at) AS ended_at,
       left(step.result::text, 200) AS result,
       CASE WHEN w.status = 'cancelled' THEN (
           SELECT e.data ->> 'by' FROM jobs_event e
            WHERE (e.job_id = step.id OR e.workflow_id = w.id) AND e.type IN ('cancel_requested', 'cancelled')
            ORDER BY e.id DESC LIMIT 1) END AS cancelled_by
  FROM jobs_workflow w
  LEFT JOIN LATERAL (
      SELECT j.*
        FROM jobs_job j
       WHERE j.workflow_id = w.id
         AND (w.status <> 'completed' AND j.status = w.status
              OR w.status = 'completed' AND j.step_index = w.total_steps - 1)
       ORDER BY j.step_index
       LIMIT 1) step ON true
 WHERE w.id = ANY (%(ids)s::uuid[])
   AND (w.status <> 'completed'
        OR w.collection_id IS NOT NULL AND w.kind = 'generation' AND w.outputs = '[]'
        OR cardinality(%(with_output)s::text[]) > 0 AND step.kind = ANY (%(with_output)s::text[])
           AND (step.result IS NULL OR step.result IN ('null', '{}', '[]', '""')
                -- nothing but what is left of base64
                OR CASE WHEN jsonb_typeof(step.result) = 'object'
                        THEN step.result ? '$removed'
                             OR NOT EXISTS (SELECT FROM jsonb_each(step.result) e
                                             WHERE NOT (jsonb_typeof(e.value) = 'object' AND e.value ? '$removed')) END))
