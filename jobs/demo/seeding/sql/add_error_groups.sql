-- Run by the seeder: adds to the groups of errors what a batch holds of them, in one order.
INSERT INTO jobs_errorgroup AS g (
    fingerprint, tenant_id, name, code, message, count, sample_job_id, first_seen_at, last_seen_at)
SELECT fingerprint, tenant_id, name, code, message, count, sample_job_id, first_seen_at, last_seen_at
  FROM jsonb_to_recordset(%(groups)s)
       AS n(fingerprint uuid, tenant_id uuid, name text, code text, message text, count bigint, sample_job_id uuid,
            first_seen_at timestamptz, last_seen_at timestamptz)
 ORDER BY fingerprint
    ON CONFLICT (fingerprint) DO UPDATE
   SET count = g.count + excluded.count,
       sample_job_id = CASE WHEN excluded.last_seen_at > g.last_seen_at THEN excluded.sample_job_id
                            ELSE g.sample_job_id END,
       first_seen_at = least(g.first_seen_at, excluded.first_seen_at),
       last_seen_at = greatest(g.last_seen_at, excluded.last_seen_at)
