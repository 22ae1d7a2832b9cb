-- Run for an attempt that is under way, which has lines to tell: none of an attempt that is over is stored. Locked in the
-- order in which everybody locks them, the job and then its workflow, and the ids are given after that.
WITH job AS MATERIALIZED (
    SELECT id, tenant_id, workflow_id
      FROM jobs_job
     WHERE id = %(job)s::uuid AND status = 'running' AND attempt = %(attempt)s
       FOR NO KEY UPDATE
),
workflow AS MATERIALIZED (
    SELECT w.id FROM jobs_workflow w JOIN job ON w.id = job.workflow_id FOR NO KEY UPDATE OF w
)
INSERT INTO jobs_event (tenant_id, job_id, workflow_id, type, data, created_at)
SELECT job.tenant_id, job.id, workflow.id, e.event ->> 'type', e.event -> 'data', clock_timestamp()
  FROM job
  LEFT JOIN workflow ON workflow.id = job.workflow_id,
       jsonb_array_elements(%(events)s) WITH ORDINALITY AS e(event, place)
 ORDER BY e.place
RETURNING workflow_id
