-- Run for each call that was verified, under the lock of its body: the receipt that this call would repeat, and
-- the workflow it speaks of, locked: whoever ends it at the same time then sees the receipt, or is seen here.
WITH workflow AS (
    SELECT id, user_id, status, attempt, notification_status, completed_at, failed_at, cancelled_at
      FROM jobs_workflow
     WHERE tenant_id = %(tenant_id)s AND workflow_id = %(workflow_name)s
       FOR NO KEY UPDATE
)
SELECT workflow.*,
       (SELECT r.id FROM webhooks_receipt r
         WHERE r.sender_id = %(sender_id)s AND r.path = %(path)s AND r.digest = %(digest)s
           -- two of one body that each have an id of their own are not the same
           AND (%(key)s::text = %(digest)s OR r.key = r.digest)
         ORDER BY r.id LIMIT 1) AS first_id
  FROM (SELECT) nothing
  LEFT JOIN workflow ON true
