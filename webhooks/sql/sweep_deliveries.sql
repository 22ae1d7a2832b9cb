-- Run once a second by those who send, under the lock that all who claim take: what a process has left behind
-- when it died is sent again, at once where it is known to be dead, else when its lease has lapsed. Whether the endpoint took it is not known, so the attempt costs the delivery no
-- step of its schedule; only one that keeps losing its process is given up.
WITH lapsed AS (
    SELECT d.id, d.worker, d.lease_expires_at - make_interval(secs => %(lease_seconds)s) AS started_at, e.url
      FROM webhooks_delivery d
      JOIN webhooks_endpoint e ON e.id = d.endpoint_id
     WHERE d.status = 'sending'
       AND (d.lease_expires_at < statement_timestamp() OR d.worker = ANY(%(dead)s))
     LIMIT 1000
       FOR NO KEY UPDATE OF d SKIP LOCKED
),
given_back AS (
    UPDATE webhooks_delivery d
       SET status = CASE WHEN d.lost_count < %(lost_max)s THEN 'pending' ELSE 'failed' END,
           next_attempt_at = CASE WHEN d.lost_count < %(lost_max)s THEN statement_timestamp() END,
           failed_at = CASE WHEN d.lost_count >= %(lost_max)s THEN statement_timestamp() END,
           lost_count = d.lost_count + 1,
           step = greatest(d.step - 1, 0),
           lease_token = NULL,
           lease_expires_at = NULL,
           reason = 'sender_lost',
           detail = CASE WHEN d.lost_count < %(lost_max)s THEN %(detail)s::text ELSE %(last_detail)s END
      FROM lapsed
     WHERE d.id = lapsed.id
    RETURNING d.*
),
noted AS (
    INSERT INTO webhooks_attempt (
        tenant_id, delivery_id, endpoint_id, number, outcome, reason, detail, internal_detail, url, request_headers,
        response_headers, response_body, is_response_cut, address, timings, worker, started_at)
    SELECT g.tenant_id, g.id, g.endpoint_id, g.attempt_count, 'unknown', 'sender_lost', %(detail)s::text, '', lapsed.url,
           '{}', '[]', '', false, '', '{}', lapsed.worker, lapsed.started_at
      FROM given_back g
      JOIN lapsed USING (id)
)
SELECT g.id, g.message_id, g.status, m.workflow_id, m.workflow_run
  FROM given_back g
  LEFT JOIN webhooks_message m ON m.id = g.message_id
