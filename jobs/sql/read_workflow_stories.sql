-- Run by whoever serves live streams, for all workflows at once: the next page of each one's story, by rows and by what they
-- weigh as text (stored they are compressed, to a hundredth where a log repeats itself). It goes from event to event and
-- stops at the one that fills the page: what lies behind that is not opened. An event that is too heavy comes alone.
WITH RECURSIVE page AS (
    SELECT stream.key, stream.after AS id, NULL::uuid AS job_id, NULL::text AS type, NULL::jsonb AS data,
           NULL::timestamptz AS created_at, 0 AS bytes, 0 AS row, 0::bigint AS page_bytes
      FROM jsonb_to_recordset(%(streams)s) AS stream(key uuid, after bigint)
    UNION ALL
    SELECT page.key, event.id, event.job_id, event.type, event.data, event.created_at, event.bytes, page.row + 1,
           page.page_bytes + event.bytes
      FROM page
      CROSS JOIN LATERAL (
          SELECT id, job_id, type::text, data, created_at, octet_length(data::text) AS bytes
            FROM jobs_event
           WHERE workflow_id = page.key AND id > page.id
           ORDER BY id
           LIMIT 1) event
     WHERE page.row < %(rows)s AND page.page_bytes < %(bytes)s
)
SELECT key, id, job_id, type, data, created_at, bytes
  FROM page
 WHERE row > 0
 ORDER BY key, id
