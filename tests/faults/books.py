"""What must add up after whatever happened: jobs, attempts, attestations, workflows."""

from __future__ import annotations

from tests.faults.conftest import Platform

# The platform's own recurring work may come by in between.
OURS = "SELECT count(*) AS n FROM jobs_job WHERE actor_id <> 'schedule'"


def count_ended(platform: Platform) -> int:
    """Jobs of the test in a final state."""
    ended = platform.query(f"{OURS} AND status IN ('completed', 'failed', 'cancelled')")
    return int(ended[0]["n"])


def check_books(platform: Platform, *, jobs: int) -> None:
    """Assert that each of `jobs` jobs ended once, and that each attempt and each workflow was attested once."""
    assert count_ended(platform) == platform.query(OURS)[0]["n"] == jobs
    wrong = platform.query(
        """
        SELECT j.id, j.kind, j.status, j.attempt, j.error ->> 'code' AS code, array_agg(a.attestation_key) AS keys
          FROM jobs_job j LEFT JOIN attestations_attestation a ON a.job_id = j.id
         WHERE j.actor_id <> 'schedule'
         GROUP BY j.id
        HAVING count(a.id) <> j.attempt
            OR count(a.id) FILTER (WHERE a.attestation_type = 'worker_completion')
               <> (j.status = 'completed')::int
        """
    )
    assert wrong == []
    # A step that was started twice, or a workflow that ended twice, would have left a second attestation.
    wrong = platform.query(
        """
        SELECT w.workflow_id, w.status, array_agg(a.attestation_key) AS keys,
               (SELECT array_agg(j.status ORDER BY j.step_index) FROM jobs_job j WHERE j.workflow_id = w.id) AS steps
          FROM jobs_workflow w
          LEFT JOIN attestations_attestation a ON a.workflow_id = w.id AND a.entity_type = 'workflow'
         GROUP BY w.id
        HAVING w.status = 'running' OR count(a.id) <> w.attempt
            OR (w.status = 'completed') <> (
                SELECT bool_and(j.status = 'completed') FROM jobs_job j WHERE j.workflow_id = w.id)
        """
    )
    assert wrong == []
