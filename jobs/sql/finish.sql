-- Run by whoever ends attempts: the runner, the workers' API, the sweep. Writes an outcome only where its
-- lease is still the live one; an outcome that is not answered was stale and changed nothing.
WITH outcome AS (
    SELECT * FROM jsonb_to_recordset(%(outcomes)s) AS o(
        id uuid, lease_token uuid, status text, result jsonb, error jsonb, error_digest text, delay_seconds float8,
        was_lost bool)
),
held AS (
    SELECT j.id, o.lease_token, j.run_at AS due_at,
           -- what was to be cancelled is not tried again, whatever its worker says of it
           CASE WHEN j.cancel_requested_at IS NOT NULL AND o.status IN ('queued', 'failed') THEN 'cancelled'
                ELSE o.status END AS status
      FROM jobs_job j
      JOIN outcome o ON o.id = j.id AND o.lease_token = j.lease_token
     WHERE j.status = 'running'
       -- the sweep may only end what has really lapsed: a renewal may have come since it looked
       AND (NOT o.was_lost OR j.lease_expires_at < statement_timestamp())
     ORDER BY j.id
       FOR UPDATE OF j
)
UPDATE jobs_job j
   SET status = held.status,
       result = o.result,
       error = o.error,
       -- as jobs.rollups.errors.fingerprint_of
       error_fingerprint = CASE WHEN held.status IN ('queued', 'failed') AND o.error_digest IS NOT NULL
                                THEN encode(substr(sha256(convert_to(
                                    concat(j.tenant_id, E'\n', j.kind, j.service_required, E'\n', o.error_digest),
                                    'UTF8')), 1, 16), 'hex')::uuid END,
       progress = CASE WHEN held.status = 'completed' THEN 100 ELSE j.progress END,
       run_at = CASE WHEN held.status = 'queued' THEN statement_timestamp() + make_interval(secs => o.delay_seconds) ELSE j.run_at END,
       -- the last attempt is not to be lost to a neighbour, nor are neighbours to be lost to a killer
       batch_size = CASE WHEN o.was_lost OR j.attempt + 1 >= j.max_attempts THEN 1 ELSE j.batch_size END,
       lease_token = NULL,
       lease_expires_at = NULL,
       completed_at = CASE WHEN held.status = 'completed' THEN statement_timestamp() END,
       failed_at = CASE WHEN held.status = 'failed' THEN statement_timestamp() END,
       cancelled_at = CASE WHEN held.status = 'cancelled' THEN statement_timestamp() END,
       is_cleanup_evaluated = false, status_category = '', problem_type = '', problem_details = NULL,
       evaluated_at = NULL
  FROM outcome o
  JOIN held USING (id, lease_token)
 WHERE j.id = held.id
RETURNING j.id, j.tenant_id, j.kind, j.service_required, j.queue, j.payload, j.ctx, j.attempt, j.worker,
          j.status, j.result, j.error, j.workflow_id, j.step_index, j.trace_id, j.request_id, j.started_at,
          statement_timestamp() AS ended_at, held.due_at, o.was_lost, j.error_fingerprint
