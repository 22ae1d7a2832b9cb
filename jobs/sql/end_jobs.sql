-- Run for jobs that end without (another) attempt: expired, cancelled in the queue, or without their input.
-- The caller has locked the rows. What was to be cancelled is cancelled, whatever else ends it.
UPDATE jobs_job j
   SET status = e.status,
       error = e.error,
       -- as jobs.rollups.errors.fingerprint_of
       error_fingerprint = CASE WHEN e.status = 'failed' AND e.error_digest IS NOT NULL
                                THEN encode(substr(sha256(convert_to(
                                    concat(j.tenant_id, E'\n', j.kind, j.service_required, E'\n', e.error_digest),
                                    'UTF8')), 1, 16), 'hex')::uuid END,
       failed_at = CASE WHEN e.status = 'failed' THEN statement_timestamp() END,
       cancelled_at = CASE WHEN e.status = 'cancelled' THEN statement_timestamp() END,
       is_cleanup_evaluated = false, status_category = '', problem_type = '', problem_details = NULL,
       evaluated_at = NULL
  FROM (SELECT n.id, n.error, n.error_digest,
               CASE WHEN asked.cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE n.status END AS status
          FROM jsonb_to_recordset(%(ends)s) AS n(id uuid, status text, error jsonb, error_digest text)
          JOIN jobs_job asked ON asked.id = n.id) e
 WHERE j.id = e.id AND j.status IN ('waiting', 'queued')
RETURNING j.id, j.tenant_id, j.kind, j.service_required, j.payload, j.ctx, j.attempt, j.worker, j.status, j.result,
          j.error, j.workflow_id, j.step_index, j.trace_id, j.request_id, j.started_at, statement_timestamp() AS ended_at,
          j.error_fingerprint
