-- Run by benchmarks/floor.py: the plainest claim that several processes can make at once.
UPDATE jobs_job
   SET status = 'running',
       attempt = attempt + 1,
       lease_token = gen_random_uuid(),
       lease_expires_at = now() + interval '30 seconds',
       started_at = now(),
       worker = %(worker)s,
       progress = 0
 WHERE id = ANY (ARRAY(
     SELECT id FROM jobs_job
      WHERE status = 'queued' AND service_required = '' AND queue = 'default' AND run_at <= now()
      ORDER BY priority DESC, run_at, id
      LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED))
RETURNING id
