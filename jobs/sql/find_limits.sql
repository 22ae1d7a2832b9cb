-- Run before a claim: the queues (or services) among %(names)s that are paused or limited.
SELECT name, paused_at IS NOT NULL AS is_paused, max_running
  FROM jobs_queue
 WHERE name = ANY(%(names)s) AND is_remote = %(is_remote)s
   AND (paused_at IS NOT NULL OR max_running IS NOT NULL)
