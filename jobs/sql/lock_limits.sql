-- Run in the transaction of a claim from limited queues (or services): one such claim at a time, so that none
-- counts what another is about to add.
SELECT name, paused_at IS NOT NULL AS is_paused, max_running
  FROM jobs_queue
 WHERE name = ANY(%(names)s) AND is_remote = %(is_remote)s
 ORDER BY name
   FOR UPDATE
