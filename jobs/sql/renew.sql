-- Run by every process that holds leases, every third of a lease: puts off their end. A lease that is not
-- answered was lost, and its job is another's now; or its worker, who is not here to be stopped, has used the
-- time of the attempt up. Rows are locked in id order, as everywhere.
WITH held AS (
    SELECT j.id
      FROM unnest(%(ids)s::uuid[], %(tokens)s::uuid[]) AS lease(job_id, token)
      JOIN jobs_job j ON j.id = lease.job_id AND j.lease_token = lease.token
     WHERE j.status = 'running'
       AND (j.service_required = ''
            OR j.started_at + make_interval(secs => j.timeout_seconds) > statement_timestamp())
     ORDER BY j.id
       FOR UPDATE OF j
)
UPDATE jobs_job j
   SET lease_expires_at = statement_timestamp() + make_interval(secs => %(lease_seconds)s)
  FROM held
 WHERE j.id = held.id
RETURNING j.id, j.lease_expires_at, j.cancel_requested_at IS NOT NULL AS is_cancel_requested
