-- Run for those who watch proof sessions: of each, whether it goes on, and the next events that its stream tells. One
-- statement, so that a session that is found to have ended has told all that is found here.
SELECT w.id AS session, w.status <> 'running' AS has_ended, w.created_at, e.id, e.type, e.data
  FROM jsonb_to_recordset(%(cursors)s) AS c(session uuid, after bigint)
  JOIN jobs_workflow w ON w.id = c.session
  LEFT JOIN LATERAL (
       SELECT e.id, e.type, e.data
         FROM jobs_event e
        WHERE e.workflow_id = c.session AND e.id > c.after AND e.type = ANY (%(types)s)
        ORDER BY e.id
        LIMIT %(page)s) e ON true
 ORDER BY w.id, e.id
