-- Run in the transaction of whatever is counted. Only ever inserts: writers would wait for one another at a shared row.
INSERT INTO jobs_tally (scope, measure, name, key, count, details)
SELECT scope, measure, name, key, count, details
  FROM jsonb_to_recordset(%(tallies)s) AS t(scope uuid, measure text, name text, key text, count int, details jsonb)
