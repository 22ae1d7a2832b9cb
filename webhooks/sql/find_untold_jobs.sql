-- Run by the evaluator for a chunk of jobs outside workflows: the completed ones of whose messages no endpoint has taken
-- any, with the latest. Where there is none, nobody wanted to be told.
SELECT j.id, NULL AS workflow_id, NULL AS run, '' AS user_id, '' AS notification_status, j.trace_id,
       j.completed_at AS ended_at, j.id AS job_id, m.type AS event_type, m.id AS message_id,
       greatest(j.completed_at, m.created_at) AS since,
       greatest(j.completed_at, m.created_at) > statement_timestamp() - make_interval(secs => %(grace)s) AS is_early,
       NOT EXISTS (SELECT FROM webhooks_delivery d WHERE d.message_id = m.id AND d.status <> 'failed') AS has_failed
  FROM (SELECT DISTINCT ON (job_id) id, job_id, type, created_at
          FROM webhooks_message
         WHERE job_id = ANY (%(ids)s::uuid[]) AND type = 'job.completed'
         ORDER BY job_id, id DESC) m
  JOIN jobs_job j ON j.id = m.job_id
 WHERE j.status = 'completed'
   AND NOT EXISTS (SELECT FROM webhooks_message any_of JOIN webhooks_delivery d ON d.message_id = any_of.id
                    WHERE any_of.job_id = j.id AND any_of.type = 'job.completed' AND d.status = 'delivered')
