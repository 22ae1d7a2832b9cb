-- Run by a sending process with room for %(room)s deliveries, under the lock that all who claim take: so what is
-- in flight at an endpoint, and when its next slot is, can be counted here and stays so. No row that anybody else
-- holds for long is waited for.
--
-- Endpoints with something pending are visited one by one, with one look into the index each: nobody's backlog
-- is walked through to find somebody else's delivery. Each gives up to its cap; then they take turns, the one with
-- least in flight first. The last of a process's room is kept for endpoints that have next to nothing in flight,
-- so that many slow ones never leave a quick one waiting.
WITH RECURSIVE
waiting AS (
    (SELECT endpoint_id, next_attempt_at FROM webhooks_delivery
      WHERE status = 'pending' AND NOT is_manual ORDER BY endpoint_id, next_attempt_at LIMIT 1)
    UNION ALL
    SELECT next.*
      FROM waiting
     CROSS JOIN LATERAL (
         SELECT d.endpoint_id, d.next_attempt_at FROM webhooks_delivery d
          WHERE d.status = 'pending' AND NOT d.is_manual AND d.endpoint_id > waiting.endpoint_id
          ORDER BY d.endpoint_id, d.next_attempt_at LIMIT 1) next
),
open AS (
    SELECT e.id, busy.count AS busy,
           -- after a trip of the breaker one delivery goes ahead and shows whether the others may follow
           least(%(room)s,
                 CASE WHEN e.breaker_trips > 0 THEN 1 ELSE e.max_in_flight END - busy.count,
                 slots.count) AS room
      FROM waiting
      JOIN webhooks_endpoint e ON e.id = waiting.endpoint_id
      LEFT JOIN webhooks_pace pace ON pace.endpoint_id = e.id
     CROSS JOIN LATERAL (
         SELECT count(*) FROM webhooks_delivery d
          WHERE d.endpoint_id = e.id AND d.status = 'sending' AND NOT d.is_manual) busy
     CROSS JOIN LATERAL (
         -- slots that have come since the last one taken; unused ones are kept for a second
         SELECT CASE WHEN e.max_per_minute IS NULL THEN %(room)s
                     ELSE floor(extract(epoch FROM statement_timestamp()
                                - greatest(pace.next_slot_at, statement_timestamp() - interval '1 second'))
                                * e.max_per_minute / 60.0)::int + 1 END AS count) slots
     WHERE waiting.next_attempt_at <= statement_timestamp()
       AND e.paused_at IS NULL AND e.disabled_at IS NULL AND e.deleted_at IS NULL
       AND (e.breaker_until IS NULL OR e.breaker_until <= statement_timestamp())
),
ready AS (
    SELECT * FROM open WHERE room > 0 ORDER BY busy, random() LIMIT %(room)s
),
by_hand AS (
    SELECT d.id,
           row_number() OVER (PARTITION BY d.endpoint_id ORDER BY d.next_attempt_at)
           + (SELECT count(*) FROM webhooks_delivery s
               WHERE s.endpoint_id = d.endpoint_id AND s.status = 'sending' AND s.is_manual) AS depth
      FROM (SELECT id, endpoint_id, next_attempt_at FROM webhooks_delivery
             WHERE status = 'pending' AND is_manual AND next_attempt_at <= statement_timestamp()
             ORDER BY next_attempt_at LIMIT 1000) d
      JOIN webhooks_endpoint e ON e.id = d.endpoint_id AND e.deleted_at IS NULL
),
due AS (
    SELECT mine.id, ready.busy + mine.turn AS depth
      FROM ready
     CROSS JOIN LATERAL (
         SELECT d.id, row_number() OVER (ORDER BY d.next_attempt_at) AS turn
           FROM webhooks_delivery d
          WHERE d.endpoint_id = ready.id AND d.status = 'pending' AND NOT d.is_manual
            AND d.next_attempt_at <= statement_timestamp()
          ORDER BY d.next_attempt_at
          LIMIT ready.room) mine
    UNION ALL
    SELECT id, depth FROM by_hand WHERE depth <= %(by_hand_max)s
),
chosen AS (
    (SELECT id FROM due WHERE depth <= %(few)s ORDER BY depth, random() LIMIT %(room)s)
    UNION ALL
    (SELECT id FROM due WHERE depth > %(few)s ORDER BY depth, random() LIMIT %(shared_room)s)
    LIMIT %(room)s
),
taken AS (
    SELECT d.id
      FROM webhooks_delivery d
      JOIN chosen USING (id)
     WHERE d.status = 'pending'
       AND NOT EXISTS (SELECT FROM jobs_queue q
                        WHERE q.name = %(queue)s AND NOT q.is_remote AND q.paused_at IS NOT NULL)
       FOR NO KEY UPDATE OF d SKIP LOCKED
),
claimed AS (
    UPDATE webhooks_delivery d
       SET status = 'sending', next_attempt_at = NULL, lease_token = gen_random_uuid(),
           lease_expires_at = statement_timestamp() + make_interval(secs => %(lease_seconds)s),
           worker = %(worker)s, step = d.step + 1, attempt_count = d.attempt_count + 1
      FROM taken
     WHERE d.id = taken.id
    RETURNING d.*
),
paced AS (
    INSERT INTO webhooks_pace AS p (endpoint_id, next_slot_at)
    SELECT e.id, statement_timestamp() - interval '1 second' + taken.count * interval '1 minute' / e.max_per_minute
      FROM (SELECT endpoint_id, count(*) FROM claimed WHERE NOT is_manual GROUP BY endpoint_id) taken
      JOIN webhooks_endpoint e ON e.id = taken.endpoint_id AND e.max_per_minute IS NOT NULL
    ON CONFLICT (endpoint_id) DO UPDATE
       SET next_slot_at = greatest(p.next_slot_at - (statement_timestamp() - interval '1 second'), interval '0')
                          + excluded.next_slot_at
)
SELECT c.id, c.lease_token, c.tenant_id, c.endpoint_id, c.message_id, c.is_manual, c.step, c.attempt_count,
       m.body, m.trace_id, m.request_id, e.url, e.sealed_headers,
       ARRAY(SELECT s.sealed FROM webhooks_endpointsecret s
              WHERE s.endpoint_id = e.id AND (s.expires_at IS NULL OR s.expires_at > statement_timestamp())
              ORDER BY s.expires_at DESC NULLS FIRST) AS sealed_secrets
  FROM claimed c
  JOIN webhooks_message m ON m.id = c.message_id
  JOIN webhooks_endpoint e ON e.id = c.endpoint_id
