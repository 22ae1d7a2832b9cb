-- Run in the transaction that ended the step which decided: ends the runs of workflows.
UPDATE jobs_workflow w
   SET status = e.status,
       outputs = e.outputs,
       error = e.error,
       completed_at = CASE WHEN e.status = 'completed' THEN statement_timestamp() END,
       failed_at = CASE WHEN e.status = 'failed' THEN statement_timestamp() END,
       cancelled_at = CASE WHEN e.status = 'cancelled' THEN statement_timestamp() END,
       retry_completed_at = CASE WHEN e.status = 'completed' AND w.attempt > 1 THEN statement_timestamp()
                                 ELSE w.retry_completed_at END,
       is_cleanup_evaluated = false, status_category = '', problem_type = '', problem_details = NULL,
       evaluated_at = NULL
  FROM jsonb_to_recordset(%(ends)s) AS e(id uuid, status text, outputs jsonb, error jsonb)
 WHERE w.id = e.id AND w.status = 'running'
RETURNING w.id, w.tenant_id, w.workflow_id, w.kind, w.user_id, w.trace_id, w.request_id, w.attempt, w.status, w.miniapp_req, w.outputs, w.error,
          w.total_steps,
          (SELECT count(*) FROM jobs_job j WHERE j.workflow_id = w.id AND j.status = 'completed') AS completed_steps,
          (SELECT j.ctx -> 'miniapp_req' FROM jobs_job j WHERE j.workflow_id = w.id AND j.step_index = 0) AS first_req,
          statement_timestamp() AS ended_at
