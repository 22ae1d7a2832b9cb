-- Run in the transaction that ended deliveries, their workflows locked before it, so that of two who end the last
-- ones of a run the second sees what the first has stored: what they mean for the users of workflows. A message of an
-- earlier run says nothing of the run at hand, and of this one there may be several, each to several endpoints: as
-- long as one is on its way nothing has failed. What was taken counted when it was, and no more once it was owed anew.
UPDATE jobs_workflow w
   SET notification_status = n.status,
       is_cleanup_evaluated = false, status_category = '', problem_type = '', problem_details = NULL,
       evaluated_at = NULL
  FROM (SELECT DISTINCT ON (workflow_id, run) *
          FROM jsonb_to_recordset(%(news)s) AS n(workflow_id uuid, run int, status text)
         ORDER BY workflow_id, run, status) n  -- "delivered" comes before "failed"
 WHERE w.id = n.workflow_id AND w.attempt = n.run AND w.status <> 'running'
   AND (n.status = 'delivered' AND w.notification_status IN ('owed', 'failed')
        OR n.status = 'failed' AND w.notification_status = 'owed'
           AND NOT EXISTS (SELECT FROM webhooks_message m
                             JOIN webhooks_delivery d ON d.message_id = m.id
                            WHERE m.workflow_id = w.id AND m.workflow_run = n.run
                              AND d.status IN ('pending', 'sending', 'held')))
