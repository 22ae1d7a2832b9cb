-- Run by the evaluator for a chunk of workflows, outside a transaction: the outputs of those completed whose name does not
-- prove their type, or of which the last step's result says another, each with what was last seen of it in this run. An
-- extension that is `trusted` proves what it says.
--
-- What tenants store is bounded here by its size once it is read, not by the size it is stored with: a compressed
-- result of a few KiB may be a megabyte. Subqueries with OFFSET 0 read it once for all who ask.
SELECT w.id, w.tenant_id, w.attempt AS run, coalesce(nullif(step.service_required, ''), step.kind) AS service,
       w.completed_at < statement_timestamp() - make_interval(secs => %(waits_max)s) AS is_old,
       suspect.url, suspect.nth, suspect.declared, seen.status, coalesce(seen.tries, 0) AS tries
  FROM jobs_workflow w
  JOIN jobs_job step ON step.workflow_id = w.id AND step.step_index = w.total_steps - 1
 CROSS JOIN LATERAL (
      SELECT jsonb_path_query_array(w.outputs, '$[0 to $last]', %(places)s) AS urls,
             CASE WHEN pg_column_size(step.result) <= %(result_bytes)s THEN step.result #> '{}' END AS result
      OFFSET 0) stored
 CROSS JOIN LATERAL (
      SELECT CASE WHEN pg_column_size(stored.result) <= %(result_bytes)s THEN stored.result END AS result
      OFFSET 0) small
 CROSS JOIN LATERAL (
      -- The types that stand beside URLs, by URL; of several in one object, it is that of the one called `url`.
      SELECT jsonb_object_agg(member.url, coalesce(%(aliases)s::jsonb ->> member.type, member.type)) AS types
        FROM (SELECT file.said ->> entry.key AS url, entry.key, count(*) OVER (PARTITION BY file.nth) AS urls,
                     lower(btrim(split_part(coalesce(file.said ->> 'content_type', file.said ->> 'contentType',
                                                     file.said ->> 'mime_type', file.said ->> 'mimeType'), ';', 1))) AS type
                FROM jsonb_path_query(
                     small.result,
                     'strict $.** ? (@.type() == "object" && (exists(@.content_type) || exists(@.contentType)
                                                              || exists(@.mime_type) || exists(@.mimeType)))')
                     WITH ORDINALITY AS file (said, nth)
               CROSS JOIN LATERAL jsonb_each(file.said) AS entry
               WHERE jsonb_typeof(entry.value) = 'string' AND file.said ->> entry.key ~ '^https?://') member
       WHERE (member.urls = 1 OR member.key = 'url') AND member.type ~ '^[a-z0-9][^/ ]*/[a-z0-9][^/ ]*$'
      OFFSET 0) declared
 CROSS JOIN LATERAL (
      SELECT output.url, output.nth, declared.types ->> output.url AS declared
        FROM jsonb_array_elements_text(stored.urls) WITH ORDINALITY AS output (url, nth)
       CROSS JOIN LATERAL (
             -- The end alone: a pattern that walks along the whole address takes many times as long.
             SELECT lower(substring(right(split_part(split_part(output.url, '#', 1), '?', 1), 13) FROM '\.[A-Za-z0-9]+$'))
                    AS extension) name
       WHERE length(output.url) <= %(url_chars)s
         AND (name.extension IS NULL
              OR NOT %(trusted)s::jsonb ? name.extension
              OR %(trusted)s::jsonb ->> name.extension <> declared.types ->> output.url)) suspect
  LEFT JOIN LATERAL (
      SELECT c.status, c.tries
        FROM jobs_outputcheck c
       WHERE c.workflow_id = w.id AND c.workflow_run = w.attempt AND c.url = suspect.url
       ORDER BY c.id DESC
       LIMIT 1) seen ON true
 WHERE w.id = ANY (%(ids)s::uuid[])
   AND w.status = 'completed' AND NOT w.is_cleanup_evaluated AND stored.urls <> '[]'
   -- Nearly all workflows end here: every name is trusted, and no type is given, or just that of the one file.
   AND (EXISTS (SELECT FROM jsonb_array_elements_text(stored.urls) AS output (url)
                 WHERE NOT %(trusted)s::jsonb
                           ? coalesce(lower(substring(right(split_part(split_part(output.url, '#', 1), '?', 1), 13)
                                                      FROM '\.[A-Za-z0-9]+$')), ''))
        OR small.result @? 'strict $.** ? (@.type() == "object"
                                           && (exists(@.content_type) || exists(@.contentType)
                                               || exists(@.mime_type) || exists(@.mimeType)))'
           AND NOT (jsonb_array_length(stored.urls) = 1
                    AND small.result -> 'url' = stored.urls -> 0
                    AND %(trusted)s::jsonb ->> lower(substring(small.result ->> 'url' FROM '\.[A-Za-z0-9]+$'))
                        IS NOT DISTINCT FROM small.result ->> 'content_type'))
 ORDER BY w.id, suspect.nth
