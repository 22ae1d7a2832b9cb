-- Run after an endpoint was paused, resumed, disabled or deleted, and now and then by those who send: brings some
-- of the deliveries that wait into line with their endpoint. Until then the claim passes them over by itself.
-- What somebody else is at is left for the next time, so nobody waits for anybody.
WITH fate AS (
    SELECT id,
           CASE WHEN deleted_at IS NOT NULL THEN 'failed'
                WHEN disabled_at IS NOT NULL OR paused_at IS NOT NULL THEN 'held'
                ELSE 'pending' END AS status,
           CASE WHEN deleted_at IS NOT NULL THEN 'deleted'
                WHEN disabled_at IS NOT NULL THEN 'disabled'
                WHEN paused_at IS NOT NULL THEN 'paused'
                ELSE '' END AS reason
      FROM webhooks_endpoint
     WHERE %(endpoint)s::uuid IS NULL OR id = %(endpoint)s
),
chosen AS (
    SELECT mine.id, fate.status, fate.reason
      FROM fate
     CROSS JOIN LATERAL (
         -- what was asked for by hand goes out whatever the state, but to no deleted endpoint
         (SELECT d.id FROM webhooks_delivery d
           WHERE fate.status = 'held' AND d.endpoint_id = fate.id AND d.status = 'pending' AND NOT d.is_manual
           LIMIT %(limit)s)
         UNION ALL
         (SELECT d.id FROM webhooks_delivery d
           WHERE fate.status = 'failed' AND d.endpoint_id = fate.id AND d.status = 'pending' AND NOT d.is_manual
           LIMIT %(limit)s)
         UNION ALL
         (SELECT d.id FROM webhooks_delivery d
           WHERE fate.status = 'failed' AND d.endpoint_id = fate.id AND d.status = 'pending' AND d.is_manual
           LIMIT %(limit)s)
         UNION ALL
         (SELECT d.id FROM webhooks_delivery d
           WHERE fate.status = 'failed' AND d.endpoint_id = fate.id AND d.status = 'held'
           LIMIT %(limit)s)
         UNION ALL
         -- resumed: what was held for the pause goes on; what a disabling held waits for somebody's word
         (SELECT d.id FROM webhooks_delivery d
           WHERE fate.status = 'pending' AND d.endpoint_id = fate.id AND d.status = 'held' AND d.reason = 'paused'
           LIMIT %(limit)s)) mine
     LIMIT %(limit)s
),
locked AS (
    SELECT d.id, chosen.status, chosen.reason, m.workflow_id, m.workflow_run
      FROM webhooks_delivery d
      JOIN chosen USING (id)
      LEFT JOIN webhooks_message m ON m.id = d.message_id
     WHERE d.status IN ('pending', 'held')
     ORDER BY d.id
       FOR NO KEY UPDATE OF d SKIP LOCKED
)
UPDATE webhooks_delivery d
   SET status = locked.status,
       reason = locked.reason,
       detail = '',
       next_attempt_at = CASE WHEN locked.status = 'pending' THEN statement_timestamp() END,
       held_at = CASE WHEN locked.status = 'held' THEN statement_timestamp() END,
       failed_at = CASE WHEN locked.status = 'failed' THEN statement_timestamp() END
  FROM locked
 WHERE d.id = locked.id
RETURNING d.id, d.message_id, d.status, locked.workflow_id, locked.workflow_run
