-- Run for the timeline of a job outside workflows, as sum_events.sql for that of a workflow: its log lines and reports of progress, of which there may be 100,000, summed up
-- per attempt. `place` counts the attempts, among those whose start is known, that had begun by then.
SELECT e.job_id, e.type, coalesce(width_bucket(e.created_at, s.starts), 0) AS place,
       count(*) AS number, min(e.created_at) AS first_at, max(e.created_at) AS last_at,
       coalesce(sum(CASE WHEN e.type = 'log' AND jsonb_typeof(e.data -> 'lines') = 'array'
                         THEN jsonb_array_length(e.data -> 'lines') END), 0)::bigint AS lines
  FROM jobs_event e
  LEFT JOIN (SELECT job_id, array_agg(at::timestamptz ORDER BY at::timestamptz) AS starts
               FROM jsonb_to_recordset(%(starts)s) AS r(job_id uuid, starts jsonb),
                    jsonb_array_elements_text(r.starts) AS at
              GROUP BY job_id) s ON s.job_id = e.job_id
 WHERE e.job_id = %(job)s AND e.type IN ('log', 'progress')
 GROUP BY 1, 2, 3
 ORDER BY 1, 3, 2
