-- Run by benchmarks/evaluate.py: %(jobs)s jobs outside workflows and %(workflows)s generations of two steps that have ended,
-- attested and told, none evaluated yet; one in fifty with a problem: failed, unattested, without output or untold. Then
-- %(queued)s jobs that are due.
CREATE TEMP TABLE one AS SELECT id AS tenant_id FROM jobs_tenant ORDER BY id LIMIT 1;
CREATE TEMP TABLE recipe AS SELECT gen_random_uuid() AS id;
INSERT INTO jobs_collection (id, tenant_id, name, steps, updated_at)
SELECT recipe.id, tenant_id, 'bench ' || recipe.id, '[]', now() FROM one, recipe;

INSERT INTO jobs_job (
    id, tenant_id, kind, service_required, queue, payload, ctx, priority, singleton_key, status, attempt, max_attempts,
    run_at, timeout_seconds, batch_size, worker, progress, started_at, result, error, trace_id, request_id, actor_id,
    step_name, is_cleanup_evaluated, status_category, problem_type, created_at, completed_at, failed_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || left(md5(random()::text), 19))::uuid,
       tenant_id, 'system.ping', '', 'default', '{}', '{}', 50, '',
       CASE WHEN is_queued THEN 'queued' WHEN n %% 50 = 0 THEN 'failed' ELSE 'completed' END,
       CASE WHEN is_queued THEN 0 ELSE 1 END, 3, CASE WHEN is_queued THEN now() ELSE at END, 300, 100, CASE WHEN is_queued THEN '' ELSE 'bench' END,
       CASE WHEN is_queued THEN 0 ELSE 100 END, CASE WHEN NOT is_queued THEN at END,
       CASE WHEN NOT is_queued AND n %% 50 > 0 THEN '{"pong": "1"}'::jsonb END,
       CASE WHEN NOT is_queued AND n %% 50 = 0 THEN '{"code": "handler_failed", "message": "ValueError: no"}'::jsonb END,
       md5(n::text), '', '', '', false, '', '', at,
       CASE WHEN NOT is_queued AND n %% 50 > 0 THEN at END, CASE WHEN NOT is_queued AND n %% 50 = 0 THEN at END
  FROM (SELECT n, n > %(jobs)s AS is_queued,
               now() - interval '1 hour' + make_interval(secs => 3000.0 * n / (%(jobs)s + %(queued)s)) AS at
          FROM generate_series(1, %(jobs)s + %(queued)s) AS n) made, one;

INSERT INTO jobs_workflow (
    id, tenant_id, workflow_id, kind, collection_id, user_id, session_id, priority, miniapp_req, data, outputs, status,
    attempt, total_steps, notification_status, trace_id, request_id, actor_id, is_cleanup_evaluated, status_category,
    problem_type, created_at, completed_at)
SELECT gen_random_uuid(), tenant_id, 'bench-' || n, 'generation', recipe.id, 'user-' || n, '', 50,
       jsonb_build_object('request_body', jsonb_build_object('variables', jsonb_build_object('prompt', md5(n::text)))),
       '{"variables": {}}',
       CASE WHEN n %% 50 = 1 THEN '[]' ELSE jsonb_build_array('https://cdn.example.com/' || md5(n::text) || '.png') END,
       'completed', 1, 2, CASE WHEN n %% 50 = 2 THEN 'owed' ELSE 'told' END, md5(n::text), '', '', false, '', '',
       now() - interval '2 hours', now() - interval '1 hour'
  FROM generate_series(1, %(workflows)s) AS n, one, recipe;

INSERT INTO jobs_job (
    id, tenant_id, kind, service_required, queue, payload, ctx, priority, singleton_key, status, attempt, max_attempts,
    run_at, timeout_seconds, batch_size, worker, progress, started_at, result, trace_id, request_id, actor_id,
    workflow_id, step_index, step_name, is_cleanup_evaluated, status_category, problem_type, created_at, completed_at)
SELECT gen_random_uuid(), w.tenant_id, '', 'painting', 'painting', '{"prompt": "A lighthouse on a cliff at dusk"}', '{}', 50,
       '', 'completed', 1, 3, w.created_at, 300, 1, 'art-1', 100, w.created_at,
       jsonb_build_object('url', w.outputs -> 0, 'seed', 1, 'seconds', 3.5), w.trace_id, '', '', w.id, step,
       'step-' || step, false, '', '', w.created_at, w.completed_at
  FROM jobs_workflow w, generate_series(0, 1) AS step
 WHERE w.workflow_id LIKE 'bench-%%';

INSERT INTO attestations_attestation (
    tenant_id, job_id, workflow_id, attestation_key, attestation_type, entity_type, workflow_key, worker_id, status,
    retry_attempt, attestation_data, digest, expires_at)
SELECT tenant_id, id, workflow_id, 'worker-completion:job-' || id, 'worker_completion', 'job', '', worker,
       CASE status WHEN 'failed' THEN 'failed' ELSE 'completed' END, 0, '{"result": null}', repeat('0', 64),
       now() + interval '7 days'
  FROM jobs_job WHERE status <> 'queued';
INSERT INTO attestations_attestation (
    tenant_id, workflow_id, attestation_key, attestation_type, entity_type, workflow_key, worker_id, status,
    retry_attempt, attestation_data, digest, expires_at)
SELECT tenant_id, id, 'workflow-completion:' || workflow_id, 'workflow_completion', 'workflow', workflow_id, '',
       'completed', 0, '{"workflow_outputs": []}', repeat('0', 64), now() + interval '7 days'
  FROM jobs_workflow WHERE right(workflow_id, 2) <> '03';
DROP TABLE one, recipe;
