-- Run in the transaction that ended deliveries, their workflows locked before it, so that of two who end the last
-- ones of a message the second sees what the first has stored: what they mean for the users of workflows. A message of an earlier
-- run says nothing of the run at hand, and one that could not be delivered to one endpoint may still reach another.
UPDATE jobs_workflow w
   SET notification_status = n.status,
       is_cleanup_evaluated = false, status_category = '', problem_type = '', problem_details = NULL,
       evaluated_at = NULL
  FROM (SELECT DISTINCT ON (workflow_id) *
          FROM jsonb_to_recordset(%(news)s) AS n(workflow_id uuid, run int, message_id uuid, status text)
         ORDER BY workflow_id, status) n  -- "delivered" comes before "failed"
 WHERE w.id = n.workflow_id AND w.attempt = n.run AND w.status <> 'running'
   AND (n.status = 'delivered' AND w.notification_status IN ('owed', 'failed')
        OR n.status = 'failed' AND w.notification_status = 'owed'
           AND NOT EXISTS (SELECT FROM webhooks_delivery d
                            WHERE d.message_id = n.message_id AND d.status <> 'failed'))
