-- Run by the seeder: notes who has worked and when, in one order.
INSERT INTO jobs_worker AS w (tenant_id, worker_id, services, queue, first_seen_at, last_seen_at)
SELECT tenant_id, worker_id, services, '', first_seen_at, last_seen_at
  FROM jsonb_to_recordset(%(workers)s)
       AS n(tenant_id uuid, worker_id text, services text[], first_seen_at timestamptz, last_seen_at timestamptz)
 ORDER BY tenant_id, worker_id
    ON CONFLICT (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'), worker_id) DO UPDATE
   SET services = ARRAY(SELECT DISTINCT s FROM unnest(w.services || excluded.services) AS s ORDER BY s),
       first_seen_at = least(w.first_seen_at, excluded.first_seen_at),
       last_seen_at = greatest(w.last_seen_at, excluded.last_seen_at)
