-- Run when an endpoint is paused, resumed, disabled or deleted, and now and then by those who send, for what was
-- written at that very moment: brings deliveries that wait into line with their endpoint.
UPDATE webhooks_delivery d
   SET status = wanted.status,
       reason = wanted.reason,
       detail = '',
       next_attempt_at = CASE WHEN wanted.status = 'pending' THEN statement_timestamp() END,
       held_at = CASE WHEN wanted.status = 'held' THEN statement_timestamp() END,
       failed_at = CASE WHEN wanted.status = 'failed' THEN statement_timestamp() END
  FROM (
      SELECT d.id, fate.*
        FROM webhooks_endpoint e
       CROSS JOIN LATERAL (
           SELECT CASE WHEN e.deleted_at IS NOT NULL THEN 'failed'
                       WHEN e.disabled_at IS NOT NULL OR e.paused_at IS NOT NULL THEN 'held'
                       ELSE 'pending' END AS status,
                  CASE WHEN e.deleted_at IS NOT NULL THEN 'deleted'
                       WHEN e.disabled_at IS NOT NULL THEN 'disabled'
                       WHEN e.paused_at IS NOT NULL THEN 'paused'
                       ELSE '' END AS reason) fate
       CROSS JOIN LATERAL (
           (SELECT d.id FROM webhooks_delivery d
             WHERE fate.status <> 'pending' AND d.endpoint_id = e.id AND d.status = 'pending' AND NOT d.is_manual
             LIMIT %(limit)s)
           UNION ALL
           -- resumed: what was held for the pause goes on; what a disabling held waits for somebody's word
           (SELECT d.id FROM webhooks_delivery d
             WHERE fate.status <> 'held' AND d.endpoint_id = e.id AND d.status = 'held'
               AND (fate.status = 'failed' OR d.reason = 'paused')
             LIMIT %(limit)s)) d
       WHERE %(endpoint)s::uuid IS NULL OR e.id = %(endpoint)s
       LIMIT %(limit)s) wanted
 WHERE d.id = wanted.id AND d.status IN ('pending', 'held')
RETURNING d.id
