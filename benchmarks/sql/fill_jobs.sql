-- Run by benchmarks/claim.py: adds %(ended)s jobs that have ended (a few failed) and then %(queued)s that
-- are due, spread over all tenants: half of them light ones in-house, a quarter heavy, a quarter for remote workers.
WITH tenant AS (
    SELECT id, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS count FROM jobs_tenant
),
made AS (
    SELECT n, n > %(ended)s AS is_queued, n %% 4 AS quarter,
           now() - make_interval(secs => (%(ended)s + %(queued)s - n) * 0.5) AS at
      FROM generate_series(1, %(ended)s + %(queued)s) AS n
)
INSERT INTO jobs_job (
    id, tenant_id, kind, service_required, queue, payload, ctx, priority, singleton_key, status, attempt,
    max_attempts, run_at, timeout_seconds, batch_size, worker, progress, started_at, result, error, trace_id,
    request_id, actor_id, step_name, is_cleanup_evaluated, status_category, problem_type, created_at, completed_at,
    failed_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || left(md5(random()::text), 19))::uuid,
       tenant.id,
       (ARRAY['proofs.generate', '', 'system.ping', 'system.ping'])[quarter + 1],
       CASE WHEN quarter = 1 THEN 'painting' ELSE '' END,
       (ARRAY['proof-generation', 'painting', 'default', 'default'])[quarter + 1],
       CASE WHEN quarter < 2 THEN jsonb_build_object(
           'requestId', md5(n::text), 'width', 1024, 'height', 1536, 'seed', n,
           'prompt', 'A lighthouse on a cliff at dusk, seen from the sea, in the manner of an old travel poster')
           ELSE '{}' END,
       '{}',
       CASE WHEN n %% 9 = 0 THEN 80 ELSE 50 END,
       '',
       CASE WHEN is_queued THEN 'queued' WHEN n %% 49 = 0 THEN 'failed' ELSE 'completed' END,
       CASE WHEN is_queued THEN 0 WHEN n %% 49 = 0 THEN 3 ELSE 1 END,
       3, at, 300,
       CASE WHEN quarter < 2 THEN 1 ELSE 100 END,
       CASE WHEN is_queued THEN '' ELSE 'default@bench:' || n %% 7 END,
       CASE WHEN is_queued THEN 0 ELSE 100 END,
       CASE WHEN NOT is_queued THEN at END,
       CASE WHEN NOT is_queued AND n %% 49 > 0 THEN jsonb_build_object(
           'output', repeat(md5(n::text), 4), 'bytes', n, 'mimeType', 'image/png') END,
       CASE WHEN NOT is_queued AND n %% 49 = 0 THEN
           '{"code": "handler_failed", "message": "ValueError: no"}'::jsonb END,
       md5(n::text), '', '', '', NOT is_queued, CASE WHEN is_queued THEN '' ELSE 'complete' END, '', at,
       CASE WHEN NOT is_queued AND n %% 49 > 0 THEN at END,
       CASE WHEN NOT is_queued AND n %% 49 = 0 THEN at END
  FROM made JOIN tenant ON place = n / 4 %% count
 ORDER BY n
