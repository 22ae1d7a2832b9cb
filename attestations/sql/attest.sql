-- Run in the transaction that finished the work: writes all its attestations in one statement.
INSERT INTO attestations_attestation (
    tenant_id, job_id, workflow_id, attestation_key, attestation_type, entity_type, workflow_key, worker_id,
    status, retry_attempt, attestation_data, digest, expires_at)
SELECT * FROM unnest(
    %(tenant_id)s::uuid[], %(job_id)s::uuid[], %(workflow_id)s::uuid[], %(attestation_key)s::text[],
    %(attestation_type)s::text[], %(entity_type)s::text[], %(workflow_key)s::text[], %(worker_id)s::text[],
    %(status)s::text[], %(retry_attempt)s::int[], %(attestation_data)s::jsonb[], %(digest)s::text[],
    %(expires_at)s::timestamptz[])
