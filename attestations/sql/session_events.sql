-- Run for those who watch proof sessions: of each, whether it goes on, and the next events that its stream tells, by rows
-- and by what they weigh as text (as `read_workflow_stories` does it). One statement, so that a session that is found to
-- have ended has told all that is found here.
WITH RECURSIVE page AS (
    SELECT c.session, c.after AS id, NULL::text AS type, NULL::jsonb AS data, 0 AS bytes, 0 AS row, 0::bigint AS page_bytes
      FROM jsonb_to_recordset(%(cursors)s) AS c(session uuid, after bigint)
    UNION ALL
    SELECT page.session, e.id, e.type, e.data, e.bytes, page.row + 1, page.page_bytes + e.bytes
      FROM page
      CROSS JOIN LATERAL (
          SELECT id, type::text, data, octet_length(data::text) AS bytes
            FROM jobs_event
           WHERE workflow_id = page.session AND id > page.id AND type = ANY (%(types)s)
           ORDER BY id
           LIMIT 1) e
     WHERE page.row < %(rows)s AND page.page_bytes < %(bytes)s
)
SELECT w.id AS session, w.status <> 'running' AS has_ended, w.created_at, e.id, e.type, e.data, e.bytes
  FROM (SELECT DISTINCT session FROM page) c
  JOIN jobs_workflow w ON w.id = c.session
  LEFT JOIN page e ON e.session = c.session AND e.row > 0
 ORDER BY w.id, e.id
