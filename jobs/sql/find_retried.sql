-- Run by the evaluator before it looks at outputs: the completed workflows among these that did not complete at once.
SELECT w.id, w.attempt AS run
  FROM jobs_workflow w
 WHERE w.id = ANY (%(ids)s::uuid[]) AND w.status = 'completed' AND w.attempt > 1
