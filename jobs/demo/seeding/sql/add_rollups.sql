-- Run by the seeder: adds to rollups what a batch has counted, in one order, so that two batches never wait for each
-- other's.
INSERT INTO jobs_rollup AS r (grain, scope, measure, at, name, key, count)
SELECT grain, scope, measure, to_timestamp(at), name, key, count
  FROM jsonb_to_recordset(%(rollups)s)
       AS n(grain int, scope uuid, measure text, at bigint, name text, key text, count bigint)
 ORDER BY grain, scope, measure, at, name, key
    ON CONFLICT (grain, scope, measure, at, name, key) DO UPDATE SET count = r.count + excluded.count
