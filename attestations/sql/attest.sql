-- Run in the transaction that finished the work: writes all its attestations in one statement.
INSERT INTO attestations_attestation (
    tenant_id, job_id, workflow_id, attestation_key, attestation_type, entity_type, workflow_key, worker_id,
    status, retry_attempt, attestation_data, digest, started_at, expires_at)
SELECT * FROM jsonb_to_recordset(%(attestations)s) AS a(
    tenant_id uuid, job_id uuid, workflow_id uuid, attestation_key text, attestation_type text,
    entity_type text, workflow_key text, worker_id text, status text, retry_attempt int,
    attestation_data jsonb, digest text, started_at timestamptz, expires_at timestamptz)
