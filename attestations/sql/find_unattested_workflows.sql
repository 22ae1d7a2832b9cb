-- Run by the evaluator for a chunk of workflows that have ended: those whose run, or an attempt of one of whose jobs, has
-- left no attestation, as far as it would still be kept.
WITH attested AS (
    SELECT workflow_id, job_id, array_agg(DISTINCT retry_attempt + 1) AS attempts
      FROM attestations_attestation
     WHERE workflow_id = ANY (%(ids)s::uuid[])
     GROUP BY workflow_id, job_id
),
lacking AS (
    SELECT j.workflow_id, array_agg(j.id::text ORDER BY j.step_index) AS jobs
      FROM jobs_job j
      LEFT JOIN attested a ON a.workflow_id = j.workflow_id AND a.job_id = j.id
     WHERE j.workflow_id = ANY (%(ids)s::uuid[]) AND j.attempt > 0 AND j.kind <> ALL (%(unattested)s::text[])
       AND coalesce(j.completed_at, j.failed_at, j.cancelled_at) > %(kept_since)s
       -- of the earlier ones of an old job some may have been forgotten
       AND CASE WHEN j.created_at > %(kept_since)s THEN cardinality(coalesce(a.attempts, '{}')) < j.attempt
                ELSE j.attempt <> ALL (coalesce(a.attempts, '{}')) END
     GROUP BY j.workflow_id
)
SELECT w.id, w.workflow_id, w.status, w.attempt AS run, w.trace_id,
       coalesce(w.completed_at, w.failed_at, w.cancelled_at) AS ended_at,
       a.workflow_id IS NULL AS lacks_own, coalesce(lacking.jobs, '{}') AS jobs
  FROM jobs_workflow w
  LEFT JOIN attested a ON a.workflow_id = w.id AND a.job_id IS NULL AND w.attempt = ANY (a.attempts)
  LEFT JOIN lacking ON lacking.workflow_id = w.id
 WHERE w.id = ANY (%(ids)s::uuid[])
   AND coalesce(w.completed_at, w.failed_at, w.cancelled_at) > %(kept_since)s
   AND (a.workflow_id IS NULL OR lacking.jobs IS NOT NULL)
