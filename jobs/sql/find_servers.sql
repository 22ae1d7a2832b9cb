-- Run by the evaluator: who could begin work at the moment. A remote worker that is busy is not heard of by its claims,
-- but holds a lease, and still offers all its services.
SELECT tenant_id::text || ' ' || service AS name, true AS is_remote
  FROM (SELECT w.tenant_id, unnest(w.services) AS service FROM jobs_worker w
         WHERE w.last_seen_at > statement_timestamp() - make_interval(secs => %(online_within)s)
            OR EXISTS (SELECT FROM jobs_job j
                        WHERE j.status = 'running' AND j.lease_expires_at > statement_timestamp()
                          AND j.tenant_id = w.tenant_id AND j.worker = w.worker_id)
        UNION
        SELECT tenant_id, service_required FROM jobs_job
         WHERE status = 'running' AND lease_expires_at > statement_timestamp() AND service_required <> '') offered
UNION
SELECT queue, false FROM jobs_cluster
 WHERE problem = '' AND beat_at > statement_timestamp() - make_interval(secs => %(beats_within)s)
