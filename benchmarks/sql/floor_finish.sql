-- Run by benchmarks/floor.py: ends a batch, counts it and attests it, with constants for what a handler and a digest
-- would have given; the rows written are as long as the platform's.
WITH ended AS (
    UPDATE jobs_job
       SET status = 'completed',
           result = '{"pong": "00000000000000000000000000000000"}',
           progress = 100,
           lease_token = NULL,
           lease_expires_at = NULL,
           completed_at = now()
     WHERE id = ANY (%(ids)s::uuid[]) AND status = 'running'
    RETURNING id, tenant_id, kind, worker
),
counted AS (
    INSERT INTO jobs_tally (scope, measure, name, key, count)
    SELECT coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), m.measure, kind, m.key, count(*)
      FROM ended, (VALUES ('ended', 'completed'), ('waited', '20'), ('ran', '1')) AS m(measure, key)
     GROUP BY tenant_id, m.measure, kind, m.key
)
INSERT INTO attestations_attestation (
    tenant_id, job_id, attestation_key, attestation_type, entity_type, workflow_key, worker_id, status,
    retry_attempt, attestation_data, digest, expires_at)
SELECT tenant_id, id, 'worker-completion:job-' || id, 'worker_completion', 'job', '', worker, 'completed', 0,
       jsonb_build_object(
           'miniapp_req', NULL,
           'emprops_req_payload', jsonb_build_object('kind', kind, 'payload', '{}'::jsonb),
           'result', '{"pong": "00000000000000000000000000000000"}'::jsonb,
           'completed_at', 1700000000000),
       repeat('0', 64), now() + interval '7 days'
  FROM ended
