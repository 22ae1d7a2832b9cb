-- Run by enqueue_jobs(): adds jobs in the caller's transaction. Those that a live one of the same singleton
-- key stands in the way of are not added and not answered.
INSERT INTO jobs_job (
    id, tenant_id, kind, service_required, queue, payload, ctx, priority, singleton_key, status, attempt,
    max_attempts, retry_policy, run_at, expires_at, timeout_seconds, batch_size, worker, progress, trace_id,
    request_id, actor_id, workflow_id, step_index, step_name, is_cleanup_evaluated, status_category, problem_type)
SELECT n.id, n.tenant_id, n.kind, n.service_required, n.queue, n.payload, n.ctx, n.priority, n.singleton_key,
       n.status, 0, n.max_attempts, n.retry_policy, coalesce(n.run_at, statement_timestamp()),
       statement_timestamp() + make_interval(secs => n.expires_in_seconds), n.timeout_seconds, n.batch_size, '', 0,
       n.trace_id, n.request_id, n.actor_id, n.workflow_id, n.step_index, n.step_name, false, '', ''
  FROM jsonb_to_recordset(%(jobs)s) AS n(
           id uuid, tenant_id uuid, kind text, service_required text, queue text, payload jsonb, ctx jsonb,
           priority int, singleton_key text, status text, max_attempts int, retry_policy jsonb, run_at timestamptz,
           expires_in_seconds float8, timeout_seconds int, batch_size int, trace_id text, request_id text,
           actor_id text, workflow_id uuid, step_index int, step_name text)
ON CONFLICT (
    coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), kind, service_required, singleton_key
) WHERE status IN ('waiting', 'queued', 'running') AND NOT singleton_key = '' DO NOTHING
RETURNING id, run_at, created_at, expires_at
