-- Run by the evaluator after it has looked at outputs: what was seen takes the place of what was seen before; what was
-- not looked at (no tries) takes nobody's.
WITH seen AS (
    SELECT * FROM jsonb_to_recordset(%(checks)s) AS s(
        workflow_id uuid, workflow_run int, url text, status text, content_type text, source text, declared_type text,
        detail text, tries int)
),
before AS (
    DELETE FROM jobs_outputcheck c
     USING seen s
     WHERE c.workflow_id = s.workflow_id AND c.workflow_run = s.workflow_run AND c.url = s.url AND s.tries > 0
)
INSERT INTO jobs_outputcheck
       (workflow_id, workflow_run, url, status, content_type, source, declared_type, detail, tries)
SELECT workflow_id, workflow_run, url, status, content_type, source, declared_type, detail, tries
  FROM seen s
 WHERE s.tries > 0
    OR NOT EXISTS (SELECT FROM jobs_outputcheck c
                    WHERE c.workflow_id = s.workflow_id AND c.workflow_run = s.workflow_run AND c.url = s.url)
