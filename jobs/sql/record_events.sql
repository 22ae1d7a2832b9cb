-- Run by whoever tells of a job or workflow. The ids are given while the row is locked whose story it is, so that of one
-- story none is committed behind another: the workflow's, or that of a job outside workflows.
WITH workflow AS MATERIALIZED (
    SELECT id FROM jobs_workflow WHERE id = %(workflow)s::uuid FOR NO KEY UPDATE
),
job AS MATERIALIZED (
    SELECT id FROM jobs_job WHERE id = %(job)s::uuid AND %(workflow)s::uuid IS NULL FOR NO KEY UPDATE
)
INSERT INTO jobs_event (tenant_id, job_id, workflow_id, type, data, created_at)
SELECT %(tenant)s::uuid, %(job)s::uuid, %(workflow)s::uuid, e.type, e.data, clock_timestamp()
  FROM (SELECT id FROM workflow UNION ALL SELECT id FROM job) story,
       jsonb_to_recordset(%(events)s) AS e(type text, data jsonb)
