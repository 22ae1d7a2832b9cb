-- Run by every cluster once a second: keeps its record, and takes the place of silent ones of its host and
-- queue, which it has replaced. With a problem to tell it does not beat.
WITH replaced AS (
    DELETE FROM jobs_cluster
     WHERE hostname = %(hostname)s AND queue = %(queue)s AND pid <> %(pid)s
       AND beat_at < statement_timestamp() - interval '1 minute'
)
INSERT INTO jobs_cluster AS c (queue, hostname, pid, problem)
VALUES (%(queue)s, %(hostname)s, %(pid)s, %(problem)s)
ON CONFLICT (hostname, pid) DO UPDATE
   SET queue = excluded.queue,
       problem = excluded.problem,
       beat_at = CASE WHEN excluded.problem = '' THEN statement_timestamp() ELSE c.beat_at END
