-- Run in the transaction that ended deliveries: the jobs outside workflows that their messages tell of are to be
-- evaluated anew. In the order of their ids, as everyone who locks several.
WITH told AS (
    SELECT j.id
      FROM jobs_job j
     WHERE j.id IN (SELECT m.job_id FROM webhooks_message m
                     WHERE m.id = ANY (%(messages)s::uuid[]) AND m.job_id IS NOT NULL)
       AND j.workflow_id IS NULL AND j.is_cleanup_evaluated
     ORDER BY j.id
       FOR NO KEY UPDATE
)
UPDATE jobs_job j
   SET is_cleanup_evaluated = false, status_category = '', problem_type = '', problem_details = NULL,
       evaluated_at = NULL
  FROM told
 WHERE j.id = told.id
