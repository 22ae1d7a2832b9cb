-- Run in the transaction that caused the events: stores messages, and a delivery to each endpoint that takes them.
-- One to an endpoint that is paused or disabled is held from the beginning.
WITH message AS (
    INSERT INTO webhooks_message (
        id, tenant_id, type, body, job_id, workflow_id, workflow_run, trace_id, request_id)
    SELECT id, tenant_id, type, convert_to(body, 'UTF8'), job_id, workflow_id, workflow_run, trace_id, request_id
      FROM jsonb_to_recordset(%(messages)s) AS m(
               id uuid, tenant_id uuid, type text, body text, job_id uuid, workflow_id uuid, workflow_run int,
               trace_id text, request_id text)
)
INSERT INTO webhooks_delivery (
    id, tenant_id, message_id, endpoint_id, status, is_manual, step, attempt_count, lost_count, next_attempt_at, held_at,
    worker, reason, detail)
SELECT d.id, d.tenant_id, d.message_id, d.endpoint_id,
       CASE WHEN d.held_for = '' THEN 'pending' ELSE 'held' END, d.is_manual, 0, 0, 0,
       CASE WHEN d.held_for = '' THEN statement_timestamp() END,
       CASE WHEN d.held_for <> '' THEN statement_timestamp() END,
       '', d.held_for, ''
  FROM jsonb_to_recordset(%(deliveries)s) AS d(
           id uuid, tenant_id uuid, message_id uuid, endpoint_id uuid, is_manual bool, held_for text)
