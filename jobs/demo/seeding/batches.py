"""A batch of stories on its way into the database, and the registry of those who write it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from jobs.demo.seeding.stories import Attempt, JobStory, WorkflowStory
from jobs.models.evaluation import CATEGORIES, ProblemType, StatusCategory
from jobs.models.jobs import PLATFORM
from jobs.models.rollups import EVERYONE
from jobs.signals import FinishedAttempt, FinishedWorkflow

# (scope, measure, name, key) and the minute, in seconds since 1970.
Minute = tuple[UUID, str, str, str, int]

EVERY_SECONDS = 600  # how often the evaluator runs
GRACE = timedelta(seconds=600)  # how long it leaves those to be told who have not been


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededTenant:
    """A tenant of the demo, and the keys of its collections, in the order of the catalogue's recipes."""

    id: UUID
    slug: str
    collections: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is seeded: so many jobs over so much time up to `now`, from one number."""

    jobs: int
    days: float
    seed: int
    now: datetime
    tenants: tuple[SeededTenant, ...]


@dataclass(slots=True)
class Batch:
    """Stories that are written in one transaction."""

    plan: Plan
    rng: Random
    jobs: list[JobStory] = field(default_factory=list)
    workflows: list[WorkflowStory] = field(default_factory=list)
    counts: Counter[Minute] = field(default_factory=Counter)
    # What each run of the evaluator said: (when, category, problem type).
    verdicts: Counter[tuple[datetime, str, str]] = field(default_factory=Counter)

    def tenant_of(self, story: JobStory | WorkflowStory) -> SeededTenant:
        return self.plan.tenants[story.tenant]

    def count(self, tenant: UUID | None, measure: str, name: str, key: str, at: datetime) -> None:
        """Count something for its tenant and for everyone."""
        minute = int(at.timestamp()) // 60 * 60
        for scope in (tenant or PLATFORM, EVERYONE):
            self.counts[scope, measure, name, key, minute] += 1

    def attempts(self) -> Iterator[FinishedAttempt]:
        """The attempts as their ends were told, and jobs that ended without one, unattested."""
        for job in self.jobs:
            yield from (self._ended(job, attempt) for attempt in job.attempts)
            if job.ended_at and not job.attempts:
                yield self._unbegun(job, job.ended_at)

    def _ended(self, job: JobStory, attempt: Attempt) -> FinishedAttempt:
        # What an operator changed was sent with the last attempt alone.
        is_before = job.original_payload is not None and attempt is not job.attempts[-1]
        return FinishedAttempt(
            **self._of_job(job),
            payload=job.original_payload if is_before else job.payload,
            attempt=attempt.number,
            worker=attempt.worker,
            outcome=attempt.outcome,
            is_final=attempt.is_final,
            is_attested=True,
            is_told=attempt.is_final,
            result=attempt.result,
            error=attempt.error,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at,
        )

    def _unbegun(self, job: JobStory, at: datetime) -> FinishedAttempt:
        return FinishedAttempt(
            **self._of_job(job),
            payload=job.payload,
            attempt=0,
            worker="",
            outcome=job.status,
            is_final=True,
            is_attested=False,
            is_told=True,
            result=None,
            error=job.error,
            started_at=None,
            ended_at=at,
        )

    def _of_job(self, job: JobStory) -> dict[str, Any]:
        """What the ends of all attempts of a job say alike."""
        workflow = job.workflow
        return {
            "job_id": job.id,
            "tenant_id": self.tenant_of(job).id,
            "kind": job.service.name if job.service.kind else "",
            "service_required": "" if job.service.kind else job.service.name,
            "ctx": job.ctx,
            "workflow_pk": workflow.id if workflow else None,
            "workflow_id": workflow.workflow_id if workflow else "",
            "user_id": workflow.user_id if workflow else "",
            "trace_id": job.trace_id,
            "request_id": "",
        }

    def runs(self) -> Iterator[FinishedWorkflow]:
        """The runs of workflows as their ends were told."""
        for workflow in self.workflows:
            for run in workflow.runs:
                yield FinishedWorkflow(
                    pk=workflow.id,
                    tenant_id=self.tenant_of(workflow).id,
                    workflow_id=workflow.workflow_id,
                    kind="generation",
                    user_id=workflow.user_id,
                    attempt=run.number,
                    status=run.status,
                    miniapp_req=workflow.miniapp_req,
                    outputs=run.outputs,
                    error=run.error,
                    total_steps=len(workflow.jobs),
                    completed_steps=run.completed_steps,
                    trace_id=workflow.trace_id,
                    request_id="",
                    ended_at=run.ended_at,
                )

    def evaluated_at(self, unit: JobStory | WorkflowStory) -> datetime | None:
        """When the evaluator has judged a unit; None where it has not, for it ended too late or not at all."""
        if unit.ended_at is None:
            return None
        is_untold = isinstance(unit, WorkflowStory) and is_untold_completion(unit)
        ready = unit.ended_at + (GRACE if is_untold else timedelta(0))
        seconds = -(-ready.timestamp() // EVERY_SECONDS) * EVERY_SECONDS + 1
        at = datetime.fromtimestamp(seconds, tz=ready.tzinfo)
        return at if at < self.plan.now else None


def is_untold_completion(workflow: WorkflowStory) -> bool:
    """Whether a workflow has completed and its user does not know."""
    if workflow.status != "completed":
        return False
    return workflow.notification_status == "failed" or (
        bool(workflow.user_id) and workflow.notification_status != "told"
    )


def expected_problem(unit: JobStory | WorkflowStory) -> str:
    """What the evaluator will say of a unit that has ended; nothing where it is complete."""
    if unit.status == "cancelled":
        return ProblemType.CANCELLED
    if unit.status == "failed":
        code = (unit.error or {}).get("code")
        known = {"timed_out": ProblemType.TIMED_OUT, "expired": ProblemType.EXPIRED}
        return known.get(str(code), ProblemType.WORKER_FAILED)
    if isinstance(unit, WorkflowStory):
        if not unit.outputs:
            return ProblemType.MISSING_OUTPUT
        if is_untold_completion(unit):
            is_failed = unit.notification_status == "failed"
            return ProblemType.NOTIFICATION_FAILED if is_failed else ProblemType.NOTIFICATION_MISSING
    return ""


def category_of(problem: str) -> str:
    return CATEGORIES[ProblemType(problem)] if problem else StatusCategory.COMPLETE


Part = Callable[[Batch], None]
parts: list[Part] = []
# Told before the first batch which tenants are seeded; and whatever else is to be there once.
Beginning = Callable[[Plan], None]
beginnings: list[Beginning] = []


def seed_part(part: Part) -> Part:
    """Register what an upper floor writes of each batch, in its transaction; a second time changes nothing."""
    if part not in parts:
        parts.append(part)
    return part


def seed_beginning(beginning: Beginning) -> Beginning:
    """Register what an upper floor writes once, before the batches; a second time changes nothing."""
    if beginning not in beginnings:
        beginnings.append(beginning)
    return beginning
