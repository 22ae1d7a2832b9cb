-- Run in the transaction that stored attempts: how the endpoints have fared. `failures` are those since the last
-- success of the batch. The breaker opens after so many failures in a row, and again, for twice as long, when the
-- delivery that went ahead has failed; what was in flight when it opened does not count against it.
UPDATE webhooks_endpoint e
   SET failures = CASE WHEN h.has_succeeded THEN 0 ELSE e.failures END + h.failures,
       failing_since = CASE WHEN h.failures = 0 THEN NULL
                            WHEN h.has_succeeded THEN statement_timestamp()
                            ELSE coalesce(e.failing_since, statement_timestamp()) END,
       breaker_trips = CASE WHEN opens THEN e.breaker_trips + 1
                            WHEN h.has_succeeded THEN 0
                            ELSE e.breaker_trips END,
       breaker_until = CASE WHEN opens THEN statement_timestamp() + make_interval(
                                 secs => least(%(rest_seconds_max)s,
                                               %(rest_seconds)s * 2 ^ least(e.breaker_trips, 20)))
                            WHEN h.has_succeeded THEN NULL
                            ELSE e.breaker_until END,
       last_success_at = CASE WHEN h.has_succeeded THEN statement_timestamp() ELSE e.last_success_at END,
       last_failure_at = CASE WHEN h.failures > 0 OR h.has_failed THEN statement_timestamp()
                              ELSE e.last_failure_at END,
       disabled_at = CASE WHEN ends_for <> '' THEN statement_timestamp() ELSE e.disabled_at END,
       disabled_reason = CASE WHEN ends_for <> '' THEN ends_for ELSE e.disabled_reason END
  FROM (
      SELECT h.*,
             CASE WHEN h.has_succeeded THEN 0 ELSE old.failures END + h.failures >= %(failures_max)s
                 AND NOT h.has_succeeded
                 AND (old.breaker_until IS NULL OR old.breaker_until <= statement_timestamp()) AS opens,
             CASE WHEN old.disabled_at IS NOT NULL OR old.deleted_at IS NOT NULL THEN ''
                  WHEN h.is_gone THEN 'gone'
                  WHEN NOT h.has_succeeded AND h.failures > 0
                       AND old.failures + h.failures >= %(failures_max)s
                       AND old.failing_since <= statement_timestamp() - make_interval(days => %(days_max)s)
                  THEN 'failing'
                  ELSE '' END AS ends_for
        FROM jsonb_to_recordset(%(health)s) AS h(
                 endpoint_id uuid, has_succeeded bool, has_failed bool, failures int, is_gone bool)
        JOIN webhooks_endpoint old ON old.id = h.endpoint_id
       ORDER BY old.id
         FOR NO KEY UPDATE OF old
  ) h
 WHERE e.id = h.endpoint_id
RETURNING e.id, e.tenant_id, e.url, e.description, e.disabled_reason, e.failing_since, h.ends_for <> '' AS is_newly_disabled
