-- Run by the evaluator in the transaction of its verdicts: whom it has to tell of them. In one order, so that two
-- runs never wait for each other's.
INSERT INTO jobs_problemalert AS a (tenant_id, problem_type, untold_count, workflow_ids, job_ids, since)
SELECT p.tenant_id, p.problem_type, p.count, p.workflow_ids, p.job_ids, statement_timestamp()
  FROM jsonb_to_recordset(%(problems)s) AS p(
           tenant_id uuid, problem_type text, count int, workflow_ids jsonb, job_ids jsonb)
 ORDER BY p.tenant_id, p.problem_type
ON CONFLICT (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), problem_type) DO UPDATE
   SET untold_count = a.untold_count + excluded.untold_count,
       workflow_ids = jsonb_path_query_array(
           (SELECT coalesce(jsonb_agg(DISTINCT name), '[]') FROM jsonb_array_elements(a.workflow_ids || excluded.workflow_ids) name),
           '$[0 to 19]'),
       job_ids = jsonb_path_query_array(
           (SELECT coalesce(jsonb_agg(DISTINCT name), '[]') FROM jsonb_array_elements(a.job_ids || excluded.job_ids) name),
           '$[0 to 19]'),
       since = coalesce(a.since, excluded.since)
