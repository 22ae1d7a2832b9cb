-- Run by the evaluator for a chunk of workflows: the outputs of those completed whose name does not prove their type, or
-- of which the last step's result says another, each with what was last seen of it in this run. An extension that is
-- `trusted` proves what it says.
SELECT w.id, w.workflow_id, w.attempt AS run, w.completed_at AS ended_at,
       coalesce(nullif(step.service_required, ''), step.kind) AS service,
       suspect.url, suspect.nth, suspect.declared,
       seen.status, coalesce(seen.tries, 0) AS tries, seen.content_type, seen.source, seen.declared_type, seen.detail
  FROM jobs_workflow w
  JOIN jobs_job step ON step.workflow_id = w.id AND step.step_index = w.total_steps - 1
 CROSS JOIN LATERAL (
      -- The types that stand beside URLs, by URL; of several in one object, it is that of the one called `url`.
      SELECT jsonb_object_agg(member.url, coalesce(%(aliases)s::jsonb ->> member.type, member.type)) AS types
        FROM (SELECT file.said ->> entry.key AS url, entry.key, count(*) OVER (PARTITION BY file.nth) AS urls,
                     lower(btrim(split_part(coalesce(file.said ->> 'content_type', file.said ->> 'contentType',
                                                     file.said ->> 'mime_type', file.said ->> 'mimeType'), ';', 1))) AS type
                FROM jsonb_path_query(
                     -- What is larger is left where it is stored: its size is known without reading it.
                     CASE WHEN pg_column_size(step.result) < 262144 THEN step.result END,
                     'strict $.** ? (@.type() == "object" && (exists(@.content_type) || exists(@.contentType)
                                                              || exists(@.mime_type) || exists(@.mimeType)))')
                     WITH ORDINALITY AS file (said, nth)
               CROSS JOIN LATERAL jsonb_each(file.said) AS entry
               WHERE jsonb_typeof(entry.value) = 'string' AND file.said ->> entry.key ~ '^https?://') member
       WHERE (member.urls = 1 OR member.key = 'url') AND member.type ~ '^[a-z0-9][^/ ]*/[a-z0-9][^/ ]*$') declared
 CROSS JOIN LATERAL (
      SELECT output.url, output.nth, declared.types ->> output.url AS declared
        FROM jsonb_array_elements_text(w.outputs) WITH ORDINALITY AS output (url, nth)
       CROSS JOIN LATERAL (
             -- The end alone: a pattern that walks along the whole address takes many times as long.
             SELECT lower(substring(right(split_part(split_part(output.url, '#', 1), '?', 1), 13) FROM '\.[A-Za-z0-9]+$'))
                    AS extension) name
       WHERE name.extension IS NULL
          OR NOT %(trusted)s::jsonb ? name.extension
          OR %(trusted)s::jsonb ->> name.extension <> declared.types ->> output.url
       ORDER BY output.nth
       LIMIT %(looked_at_max)s) suspect
  LEFT JOIN LATERAL (
      SELECT c.*
        FROM jobs_outputcheck c
       WHERE c.workflow_id = w.id AND c.workflow_run = w.attempt AND c.url = suspect.url
       ORDER BY c.id DESC
       LIMIT 1) seen ON true
 WHERE w.id = ANY (%(ids)s::uuid[])
   AND w.status = 'completed' AND NOT w.is_cleanup_evaluated AND w.outputs <> '[]'
   -- Nearly all workflows end here: every name is trusted, and no type is given, or just that of the one file.
   AND (EXISTS (SELECT FROM jsonb_array_elements_text(w.outputs) AS output (url)
                 WHERE NOT %(trusted)s::jsonb
                           ? coalesce(lower(substring(right(split_part(split_part(output.url, '#', 1), '?', 1), 13)
                                                      FROM '\.[A-Za-z0-9]+$')), ''))
        OR CASE WHEN pg_column_size(step.result) < 262144
                THEN step.result @? 'strict $.** ? (@.type() == "object"
                                                    && (exists(@.content_type) || exists(@.contentType)
                                                        || exists(@.mime_type) || exists(@.mimeType)))' END
           AND NOT (jsonb_array_length(w.outputs) = 1
                    AND step.result -> 'url' = w.outputs -> 0
                    AND %(trusted)s::jsonb ->> lower(substring(step.result ->> 'url' FROM '\.[A-Za-z0-9]+$'))
                        IS NOT DISTINCT FROM step.result ->> 'content_type'))
 ORDER BY w.id, suspect.nth
