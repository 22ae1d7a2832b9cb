-- Run by an in-house process that is free: takes the most urgent due job of its queue and, when it is a light
-- one, more of the same kind, up to its batch size. One statement, so that a claim is one round trip.
--
-- Priorities are visited one by one (101 at most), so that jobs due later never stand before those due now.
-- The window is read without locks and is wider than a batch, so that processes claiming at the same moment
-- each find rows that the others have not locked.
WITH RECURSIVE
levels AS (
    (SELECT priority FROM jobs_job
      WHERE status = 'queued' AND service_required = '' AND queue = %(queue)s
      ORDER BY priority DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT j.priority FROM jobs_job j
             WHERE j.status = 'queued' AND j.service_required = '' AND j.queue = %(queue)s
               AND j.priority < levels.priority
             ORDER BY j.priority DESC LIMIT 1)
      FROM levels WHERE levels.priority IS NOT NULL
),
due AS (
    SELECT j.id, j.kind, j.batch_size, j.priority, j.run_at
      FROM levels
      CROSS JOIN LATERAL (
          SELECT id, kind, batch_size, priority, run_at FROM jobs_job
           WHERE status = 'queued' AND service_required = '' AND queue = %(queue)s
             AND priority = levels.priority AND run_at <= statement_timestamp()
           ORDER BY run_at, id LIMIT %(window)s) j
     LIMIT %(window)s
),
head AS (
    SELECT kind, batch_size FROM due ORDER BY priority DESC, run_at, id LIMIT 1
),
picked AS (
    SELECT j.id
      FROM (SELECT due.* FROM due JOIN head USING (kind, batch_size)
             ORDER BY due.priority DESC, due.run_at, due.id) due
      JOIN jobs_job j ON j.id = due.id
     WHERE j.status = 'queued' AND j.run_at <= statement_timestamp()  -- once locked, it may have changed
     ORDER BY due.priority DESC, due.run_at, due.id
     LIMIT (SELECT least(batch_size, %(limit)s) FROM head)
       FOR UPDATE OF j SKIP LOCKED
)
UPDATE jobs_job j
   SET status = 'running',
       attempt = j.attempt + 1,
       lease_token = gen_random_uuid(),
       lease_expires_at = statement_timestamp() + make_interval(secs => %(lease_seconds)s),
       started_at = statement_timestamp(),
       worker = %(worker)s,
       progress = 0
  FROM picked
 WHERE j.id = picked.id
RETURNING j.id, j.lease_token, j.tenant_id, j.kind, j.payload, j.attempt, j.max_attempts,
          j.timeout_seconds, j.trace_id, j.request_id, j.actor_id
