-- Run by the evaluator for a chunk of jobs that have ended: those with an attempt that has left no attestation, as
-- far as it would still be kept. The platform's own jobs are nobody's evidence. What is asked for each job is asked by
-- an index on its own, so that no plan for an unknown number of jobs compares all with all.
SELECT j.id, j.kind, j.service_required, j.worker, j.trace_id,
       coalesce(j.completed_at, j.failed_at, j.cancelled_at) AS ended_at,
       ARRAY(SELECT n FROM generate_series(CASE WHEN j.created_at > %(kept_since)s THEN 1 ELSE j.attempt END, j.attempt) AS n
              WHERE NOT EXISTS (SELECT FROM attestations_attestation a
                                 WHERE a.job_id = j.id AND a.retry_attempt = n - 1)) AS lacking
  FROM jobs_job j
 WHERE j.id = ANY (%(ids)s::uuid[]) AND j.tenant_id IS NOT NULL AND j.attempt > 0
   AND (j.kind = '' OR j.kind = ANY (%(attested)s::text[]))
   AND coalesce(j.completed_at, j.failed_at, j.cancelled_at) > %(kept_since)s
   -- of the earlier attempts of an old job some may have been forgotten
   AND (SELECT count(DISTINCT a.retry_attempt) FROM attestations_attestation a
         WHERE a.job_id = j.id
           AND a.retry_attempt BETWEEN CASE WHEN j.created_at > %(kept_since)s THEN 0 ELSE j.attempt - 1 END
                                   AND j.attempt - 1)
       < CASE WHEN j.created_at > %(kept_since)s THEN j.attempt ELSE 1 END
