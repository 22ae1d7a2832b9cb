-- Run when the step before has completed: queues the next steps with their payloads filled in.
UPDATE jobs_job j
   SET status = 'queued', payload = n.payload, is_filled_in = true, run_at = greatest(j.run_at, statement_timestamp())
  FROM jsonb_to_recordset(%(starts)s) AS n(id uuid, payload jsonb)
 WHERE j.id = n.id AND j.status = 'waiting'
RETURNING j.tenant_id, j.queue, j.service_required
