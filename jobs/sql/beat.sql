-- Run by every cluster once a second: keeps its record. With a problem to tell it does not beat.
INSERT INTO jobs_cluster AS c (queue, hostname, pid, problem)
VALUES (%(queue)s, %(hostname)s, %(pid)s, %(problem)s)
ON CONFLICT (hostname, pid) DO UPDATE
   SET queue = excluded.queue,
       problem = excluded.problem,
       beat_at = CASE WHEN excluded.problem = '' THEN statement_timestamp() ELSE c.beat_at END
