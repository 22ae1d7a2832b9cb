-- Run for each call that comes in: who might have signed it, by every secret that is live.
SELECT s.id, s.tenant_id, s.name, x.sealed
  FROM webhooks_sendersecret x
  JOIN webhooks_sender s ON s.id = x.sender_id AND s.is_active
  JOIN jobs_tenant t ON t.id = s.tenant_id AND t.is_active
 WHERE (x.expires_at IS NULL OR x.expires_at > statement_timestamp())
   AND (%(sender_id)s::uuid IS NULL OR s.id = %(sender_id)s)
 ORDER BY x.id DESC
