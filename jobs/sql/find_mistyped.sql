-- Run by the evaluator in the transaction that has locked these workflows: what was noted of their outputs, and nothing
-- else, so that it takes milliseconds whatever they are. Of each workflow and finding the first, and how many more.
WITH noted AS (
    SELECT w.id, c.id AS place, w.workflow_id, w.attempt AS run, w.completed_at AS ended_at, w.total_steps,
           left(c.url, %(url_chars)s + 1) AS url, c.content_type, c.source, c.declared_type, c.detail,
           CASE WHEN c.status = 'mismatch' THEN 'mismatch'
                WHEN c.status = 'absent' AND (c.tries >= %(tries_max)s OR age.is_old) THEN 'absent'
                WHEN c.tries < %(tries_max)s AND NOT age.is_old THEN 'open' END AS finding
      FROM jobs_outputcheck c
      JOIN jobs_workflow w ON w.id = c.workflow_id AND w.attempt = c.workflow_run
     CROSS JOIN LATERAL (
          SELECT w.completed_at < statement_timestamp() - make_interval(secs => %(waits_max)s) AS is_old) age
     WHERE c.workflow_id = ANY (%(ids)s::uuid[]) AND c.status <> 'matches' AND w.status = 'completed'
    UNION ALL
    -- It had failed when the outputs were looked at, and was retried and completed since.
    SELECT w.id, 0, w.workflow_id, w.attempt, w.completed_at, w.total_steps, '', '', '', '', '', 'open'
      FROM jobs_workflow w
     WHERE w.id = ANY (%(ids)s::uuid[]) AND w.status = 'completed' AND w.attempt > 1
       AND NOT EXISTS (SELECT FROM jobs_outputcheck c WHERE c.workflow_id = w.id AND c.workflow_run = w.attempt)
)
SELECT found.*, coalesce(nullif(step.service_required, ''), step.kind, '') AS service
  FROM (SELECT DISTINCT ON (id, finding) noted.*, count(*) OVER (PARTITION BY id, finding) - 1 AS others
          FROM noted
         WHERE finding IS NOT NULL
         ORDER BY id, finding, place) found
  LEFT JOIN jobs_job step ON step.workflow_id = found.id AND step.step_index = found.total_steps - 1
 ORDER BY found.id, found.finding DESC
