-- Run by a sending process: stores attempts and what they mean for their deliveries, where the lease is still
-- the live one. An outcome that is not answered came too late; its attempt stands as one of unknown outcome.
WITH outcome AS (
    SELECT * FROM jsonb_to_recordset(%(outcomes)s) AS o(
        id uuid, lease_token uuid, status text, outcome text, reason text, detail text, internal_detail text,
        delay_seconds float8, url text, request_headers jsonb, status_code int, response_headers jsonb,
        response_body text, is_response_cut bool, address text, timings jsonb, started_at timestamptz,
        duration_ms int, is_our_fault bool)
),
held AS (
    SELECT d.id
      FROM webhooks_delivery d
      JOIN outcome o ON o.id = d.id AND o.lease_token = d.lease_token
     WHERE d.status = 'sending'
     ORDER BY d.id
       FOR NO KEY UPDATE OF d
),
ended AS (
    UPDATE webhooks_delivery d
       SET status = o.status,
           next_attempt_at = CASE WHEN o.status = 'pending'
                                  THEN statement_timestamp() + make_interval(secs => o.delay_seconds) END,
           delivered_at = CASE WHEN o.status = 'delivered' THEN statement_timestamp() END,
           failed_at = CASE WHEN o.status = 'failed' THEN statement_timestamp() END,
           step = CASE WHEN o.is_our_fault THEN greatest(d.step - 1, 0) ELSE d.step END,
           lease_token = NULL,
           lease_expires_at = NULL,
           status_code = o.status_code,
           reason = o.reason,
           detail = o.detail
      FROM outcome o
      JOIN held USING (id)
     WHERE d.id = held.id
    RETURNING d.*
),
noted AS (
    INSERT INTO webhooks_attempt (
        tenant_id, delivery_id, endpoint_id, number, outcome, reason, detail, internal_detail, url,
        request_headers, status_code, response_headers, response_body, is_response_cut, address, timings, worker,
        started_at, duration_ms)
    SELECT e.tenant_id, e.id, e.endpoint_id, e.attempt_count, o.outcome, o.reason, o.detail, o.internal_detail,
           o.url, o.request_headers, o.status_code, o.response_headers, o.response_body, o.is_response_cut,
           o.address, o.timings, e.worker, o.started_at, o.duration_ms
      FROM ended e
      JOIN outcome o USING (id)
)
SELECT e.id, e.tenant_id, e.endpoint_id, e.message_id, e.is_manual, e.status, m.workflow_id, m.workflow_run
  FROM ended e
  JOIN webhooks_message m ON m.id = e.message_id
