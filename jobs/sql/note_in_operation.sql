-- Run by the job of a bulk operation, in the transaction of each record it deals with: what came of it and how far
-- the operation is, unless another process has gone on from the same place or the operation is over.
UPDATE jobs_bulkoperation
SET cursor = %(cursor)s::text,
    done_count = %(done_count)s::int,
    refused_count = %(refused_count)s::int,
    outcomes = %(outcomes)s::jsonb,
    refusals = %(refusals)s::jsonb
WHERE id = %(id)s::uuid AND cursor = %(before)s::text AND status = 'running'
RETURNING abort_requested_at IS NOT NULL AS is_abort_requested
