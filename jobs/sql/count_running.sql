-- Run under the locks of lock_limits.sql: how many jobs of each queue (or service) are running.
SELECT queue AS name, count(*) AS running
  FROM jobs_job
 WHERE status = 'running' AND queue = ANY(%(names)s) AND (service_required <> '') = %(is_remote)s
 GROUP BY queue
