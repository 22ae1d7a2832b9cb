"""Where in a unit something is: in words for people, and in facts for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FACTS = (
    "workflow_id",
    "run",
    "step_name",
    "job_id",
    "kind",
    "service_required",
    "queue",
    "attempt",
    "worker",
    "trace_id",
)


@dataclass(frozen=True, slots=True)
class Place:
    """The job that a row speaks of: a unit of its own, or a step of a workflow."""

    row: Any

    @property
    def what(self) -> str:
        if self.row.step_name:
            return f"Step {self.row.step_name!r}"
        return f"The job {self.row.kind or self.row.service_required}" if self.row.job_id else "The workflow"

    @property
    def what_small(self) -> str:
        return self.what[0].lower() + self.what[1:]

    @property
    def in_attempt(self) -> str:
        """In which attempt it went wrong, and who was at it."""
        if not self.row.attempt:
            return "before any attempt"
        return f"in attempt {self.row.attempt} of {self.row.max_attempts} on {self.worker}"

    @property
    def worker(self) -> str:
        return self.row.worker or "its worker"

    @property
    def who_runs_it(self) -> str:
        """Who could begin it: workers of a service, or a cluster of a queue."""
        if self.row.service_required:
            return f"a worker that offers {self.row.service_required!r}"
        return (
            f"a cluster of the queue {self.row.queue!r} (Q_CLUSTER_NAME={self.row.queue} manage.py qcluster)"
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the place; `step_name` goes by the name of step."""
        known = {name: getattr(self.row, name) for name in FACTS}
        known["step"] = known.pop("step_name")
        known["job_id"] = str(known["job_id"]) if known["job_id"] else None
        return {name: value for name, value in known.items() if value not in (None, "")}


def retry_call(row: Any) -> str:
    """How the unit of a row is tried again."""
    if row.workflow_id is None:
        return f"Then POST /api/jobs/{row.job_id}/retry."
    return f"Then POST /api/workflows/{row.workflow_id}/retry: only what has not completed runs again."
