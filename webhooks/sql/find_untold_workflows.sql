-- Run by the evaluator for a chunk of workflows: the completed ones whose user has not been told, or who told nobody
-- of all that were to be told, with the latest message of their run and how its deliveries fare.
SELECT w.id, w.workflow_id, w.attempt AS run, w.user_id, w.notification_status, w.trace_id, w.completed_at AS ended_at,
       NULL AS job_id, 'workflow.completed' AS event_type, m.id AS message_id,
       greatest(w.completed_at, m.created_at) AS since,
       greatest(w.completed_at, m.created_at) > statement_timestamp() - make_interval(secs => %(grace)s) AS is_early,
       w.notification_status = 'failed' AS has_failed
  FROM jobs_workflow w
  LEFT JOIN LATERAL (
      SELECT * FROM webhooks_message m
       WHERE m.workflow_id = w.id AND m.workflow_run = w.attempt ORDER BY m.id DESC LIMIT 1) m ON true
 WHERE w.id = ANY (%(ids)s::uuid[]) AND w.status = 'completed'
   AND CASE WHEN w.user_id = '' THEN w.notification_status NOT IN ('told', 'delivered', 'none')
            ELSE w.notification_status <> 'told' END
