-- Run by the evaluator for a chunk of workflows that have ended: those of which a run, or an attempt of one of whose jobs,
-- has left no attestation, as far as it would still be kept. What is asked for each is asked by an index on its own, so
-- that no plan for an unknown number of workflows compares all with all.
SELECT w.id, w.workflow_id, w.status, w.attempt AS run, w.trace_id,
       coalesce(w.completed_at, w.failed_at, w.cancelled_at) AS ended_at,
       ARRAY(SELECT n FROM generate_series(own.first, w.attempt) AS n
              WHERE NOT EXISTS (SELECT FROM attestations_attestation a
                                 WHERE a.workflow_id = w.id AND a.job_id IS NULL AND a.retry_attempt = n - 1)) AS runs,
       steps.lacking AS jobs
  FROM jobs_workflow w
 CROSS JOIN LATERAL (
     -- of the earlier runs of an old workflow some may have been forgotten
     SELECT CASE WHEN w.created_at > %(kept_since)s THEN 1 ELSE w.attempt END AS first) own
 CROSS JOIN LATERAL (
     SELECT ARRAY(
         SELECT j.id::text FROM jobs_job j
          WHERE j.workflow_id = w.id AND j.attempt > 0 AND (j.kind = '' OR j.kind = ANY (%(attested)s::text[]))
            AND coalesce(j.completed_at, j.failed_at, j.cancelled_at) > %(kept_since)s
            -- of the earlier attempts of an old job some may have been forgotten
            AND (SELECT count(DISTINCT a.retry_attempt) FROM attestations_attestation a
                  WHERE a.job_id = j.id
                    AND a.retry_attempt BETWEEN CASE WHEN j.created_at > %(kept_since)s THEN 0 ELSE j.attempt - 1 END
                                            AND j.attempt - 1)
                < CASE WHEN j.created_at > %(kept_since)s THEN j.attempt ELSE 1 END
          ORDER BY j.step_index) AS lacking) steps
 WHERE w.id = ANY (%(ids)s::uuid[])
   AND coalesce(w.completed_at, w.failed_at, w.cancelled_at) > %(kept_since)s
   AND ((SELECT count(DISTINCT a.retry_attempt) FROM attestations_attestation a
          WHERE a.workflow_id = w.id AND a.job_id IS NULL AND a.retry_attempt BETWEEN own.first - 1 AND w.attempt - 1)
        <= w.attempt - own.first
        OR cardinality(steps.lacking) > 0)
