-- Run for each new call: its receipt and its effect, both or neither. No row is answered where another call of the
-- same id was faster.
WITH receipt AS (
    INSERT INTO webhooks_receipt (
        id, tenant_id, sender_id, path, state, reason, key, digest, workflow_name, workflow_id, user_id, headers,
        notice, body, size, remote_address, trace_id, duplicate_count, applied_at)
    VALUES (%(id)s, %(tenant_id)s, %(sender_id)s, %(path)s, %(state)s::text, %(reason)s, %(key)s, %(digest)s,
            %(workflow_name)s, %(workflow_id)s, %(user_id)s, %(headers)s, %(notice)s, %(body)s, %(size)s, %(remote_address)s,
            %(trace_id)s, 0, CASE WHEN %(state)s::text = 'applied' THEN statement_timestamp() END)
    ON CONFLICT DO NOTHING
    RETURNING id, tenant_id, workflow_id
),
event AS (
    INSERT INTO jobs_event (tenant_id, workflow_id, type, data)
    SELECT tenant_id, workflow_id, %(event_type)s::text, %(event_data)s
      FROM receipt
     WHERE %(event_type)s::text IS NOT NULL
),
told AS (
    UPDATE jobs_workflow w
       SET notification_status = 'told',
           is_cleanup_evaluated = false, status_category = '', problem_type = '', problem_details = NULL,
           evaluated_at = NULL
      FROM receipt
     WHERE w.id = receipt.workflow_id AND %(event_type)s::text = 'user_notified'
       AND w.notification_status <> 'told'
)
SELECT id FROM receipt
