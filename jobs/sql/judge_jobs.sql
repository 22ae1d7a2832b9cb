-- Run by the evaluator in the transaction that has locked these jobs: what it says of them. Those without a
-- problem are complete.
UPDATE jobs_job u
   SET is_cleanup_evaluated = true,
       status_category = coalesce(v.category, 'complete'),
       problem_type = coalesce(v.problem_type, ''),
       problem_details = v.details,
       evaluated_at = statement_timestamp()
  FROM unnest(%(ids)s::uuid[]) AS judged(id)
  LEFT JOIN jsonb_to_recordset(%(verdicts)s) AS v(id uuid, category text, problem_type text, details jsonb) USING (id)
 WHERE u.id = judged.id
RETURNING u.id, u.tenant_id, u.id::text AS name, u.status_category, u.problem_type
