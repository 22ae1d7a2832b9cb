-- Run by whichever cluster folds, one at a time: takes some tallies away and adds what they say to the rollups of every
-- grain, their own scope's and everyone's, and to the groups of errors. One statement, so that each counts once.
WITH taken AS (
    DELETE FROM jobs_tally
     WHERE id IN (SELECT id FROM jobs_tally ORDER BY id LIMIT %(limit)s)
    RETURNING at, scope, measure, name, key, count, details
),
rolled AS (
    INSERT INTO jobs_rollup AS r (grain, scope, measure, at, name, key, count)
    SELECT grain, whose.scope, t.measure, date_bin(make_interval(secs => grain), t.at, 'epoch') AS begins, t.name, t.key,
           sum(t.count)
      FROM taken t
      CROSS JOIN unnest(%(grains)s::int[]) AS grain
      CROSS JOIN LATERAL (VALUES (t.scope), (%(everyone)s::uuid)) AS whose(scope)
     GROUP BY grain, whose.scope, t.measure, begins, t.name, t.key
     -- in the order of the primary key, as whoever forgets old ones locks them
     ORDER BY grain, whose.scope, t.measure, begins, t.name, t.key
    ON CONFLICT (grain, scope, measure, at, name, key) DO UPDATE SET count = r.count + excluded.count
),
grouped AS (
    INSERT INTO jobs_errorgroup AS g
           (fingerprint, tenant_id, name, code, message, count, sample_job_id, first_seen_at, last_seen_at)
    SELECT t.key::uuid, (last.details ->> 'tenant')::uuid, last.name, last.details ->> 'code',
           last.details ->> 'message', t.count, (last.details ->> 'job')::uuid, t.first_at, t.last_at
      FROM (SELECT key, sum(count) AS count, min(at) AS first_at, max(at) AS last_at
              FROM taken WHERE measure = 'error' GROUP BY key) t
      JOIN (SELECT DISTINCT ON (key) key, name, details
              FROM taken WHERE measure = 'error' ORDER BY key, at DESC) last USING (key)
     ORDER BY t.key::uuid
    ON CONFLICT (fingerprint) DO UPDATE
       SET count = g.count + excluded.count,
           sample_job_id = CASE WHEN excluded.last_seen_at >= g.last_seen_at
                                THEN excluded.sample_job_id ELSE g.sample_job_id END,
           first_seen_at = least(g.first_seen_at, excluded.first_seen_at),
           last_seen_at = greatest(g.last_seen_at, excluded.last_seen_at)
)
SELECT count(*) AS folded FROM taken
