-- Run when a worker is heard of: keeps its record, written at most every 10 s unless it offers other services.
INSERT INTO jobs_worker AS w (tenant_id, worker_id, services, queue)
VALUES (%(tenant)s, %(worker)s, %(services)s, %(queue)s)
ON CONFLICT (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), worker_id) DO UPDATE
   SET last_seen_at = statement_timestamp(), services = excluded.services, queue = excluded.queue
 WHERE w.last_seen_at < statement_timestamp() - interval '10 seconds' OR w.services <> excluded.services
