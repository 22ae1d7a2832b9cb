-- Run by every process that holds leases, every third of a lease: puts off their end. A lease that is not
-- answered was lost, and its job is another's now.
UPDATE jobs_job j
   SET lease_expires_at = statement_timestamp() + make_interval(secs => %(lease_seconds)s)
  FROM unnest(%(ids)s::uuid[], %(tokens)s::uuid[]) AS held(id, lease_token)
 WHERE j.id = held.id AND j.lease_token = held.lease_token AND j.status = 'running'
RETURNING j.id, j.lease_expires_at, j.cancel_requested_at IS NOT NULL AS is_cancel_requested
