-- Run by the seeder: what the evaluator's rules say of these jobs, as of the time it would have found out.
UPDATE jobs_job u
   SET is_cleanup_evaluated = true, status_category = v.category, problem_type = v.problem_type,
       problem_details = v.details, evaluated_at = v.evaluated_at
  FROM jsonb_to_recordset(%(verdicts)s)
       AS v(id uuid, category text, problem_type text, details jsonb, evaluated_at timestamptz)
 WHERE u.id = v.id
