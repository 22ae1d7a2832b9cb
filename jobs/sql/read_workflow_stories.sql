-- Run by whoever serves live streams, for all workflows at once: the next page of each one's story, by rows and by what they
-- weigh. A row that is too heavy comes alone.
SELECT stream.key, event.id, event.job_id, event.type, event.data, event.created_at, event.bytes
  FROM jsonb_to_recordset(%(streams)s) AS stream(key uuid, after bigint)
  CROSS JOIN LATERAL (
      SELECT page.*, sum(page.bytes) OVER (ORDER BY page.id) - page.bytes AS bytes_before
        FROM (SELECT id, job_id, type, data, created_at, pg_column_size(data) AS bytes
                FROM jobs_event
               WHERE workflow_id = stream.key AND id > stream.after
               ORDER BY id
               LIMIT %(rows)s) page) event
 WHERE event.bytes_before < %(bytes)s
 ORDER BY stream.key, event.id
