-- Run by the evaluator for a chunk of jobs that have ended: those with an attempt that has left no attestation, as
-- far as it would still be kept. The platform's own jobs are nobody's evidence.
WITH attested AS (
    SELECT job_id, array_agg(DISTINCT retry_attempt + 1) AS attempts
      FROM attestations_attestation
     WHERE job_id = ANY (%(ids)s::uuid[]) AND entity_type = 'job'
     GROUP BY job_id
),
ended AS (
    SELECT j.id, j.kind, j.service_required, j.queue, j.attempt, j.worker, j.trace_id, j.created_at,
           coalesce(j.completed_at, j.failed_at, j.cancelled_at) AS ended_at
      FROM jobs_job j
     WHERE j.id = ANY (%(ids)s::uuid[]) AND j.tenant_id IS NOT NULL AND j.attempt > 0
       AND j.kind <> ALL (%(unattested)s::text[])
)
SELECT e.*, lacking.attempts AS lacking
  FROM ended e
  LEFT JOIN attested a ON a.job_id = e.id
 CROSS JOIN LATERAL (
     -- of the earlier ones of an old job some may have been forgotten
     SELECT array_agg(n) AS attempts
       FROM generate_series(CASE WHEN e.created_at > %(kept_since)s THEN 1 ELSE e.attempt END, e.attempt) AS n
      WHERE n <> ALL (coalesce(a.attempts, '{}'))) lacking
 WHERE e.ended_at > %(kept_since)s AND lacking.attempts IS NOT NULL
