"""The job: one unit of work, and at the same time its place in the queue."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Self

from django.db import models
from django.db.models.functions import Coalesce, Now

from jobs.ids import uuid7
from jobs.models.evaluation import Evaluated
from jobs.models.tenants import Tenant, TenantQuerySet
from jobs.models.workflows import Workflow

PLATFORM = uuid.UUID(int=0)  # stands for "no tenant" where a unique index needs a value


class JobQuerySet(TenantQuerySet["Job"]):
    def live(self) -> Self:
        """Jobs that have not ended."""
        return self.filter(status__in=Job.LIVE)

    def failed(self) -> Self:
        return self.filter(status=Job.Status.FAILED)

    def running_at(self, place: str) -> Self:
        """In-house jobs under a live lease of a worker whose name begins with `place`.

        A remote worker's name is its tenant's choice.
        """
        running = self.filter(status=Job.Status.RUNNING, service_required="")
        return running.filter(worker__startswith=place, lease_expires_at__gt=Now())


class Job(Evaluated):
    """One unit of work: run in-house (`kind`) or by a remote worker (`service_required`).

    The table is the queue: `claim`, `renew`, `finish` and `sweep` in `jobs.queue` change its rows in bulk.
    """

    class Status(models.TextChoices):
        WAITING = "waiting"  # for an earlier step of its workflow
        QUEUED = "queued"  # to be claimed from `run_at` on
        RUNNING = "running"  # under a lease
        COMPLETED = "completed"  # its result is stored
        FAILED = "failed"  # out of attempts, expired, or failed for good
        CANCELLED = "cancelled"  # somebody stopped it

    TRANSITIONS = {
        Status.WAITING: {Status.QUEUED, Status.FAILED, Status.CANCELLED},
        Status.QUEUED: {Status.RUNNING, Status.FAILED, Status.CANCELLED},
        Status.RUNNING: {Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.QUEUED},
        Status.COMPLETED: set[Status](),
        # An operator's retry, of the job or of its workflow, in which a later step waits for its turn again.
        Status.FAILED: {Status.QUEUED, Status.WAITING},
        Status.CANCELLED: {Status.QUEUED, Status.WAITING},
    }
    LIVE = (Status.WAITING, Status.QUEUED, Status.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, related_name="jobs", null=True, blank=True, db_index=False
    )
    kind = models.CharField(max_length=100, blank=True, help_text="The handler that runs it in-house.")
    service_required = models.CharField(max_length=100, blank=True, help_text="What a remote worker offers.")
    queue = models.CharField(max_length=100)
    payload = models.JSONField(default=dict, blank=True)
    original_payload = models.JSONField(null=True, blank=True, help_text="Kept when an operator edits it.")
    # The placeholders of a step's payload are replaced once, when its turn comes: what stands there then is data.
    is_filled_in = models.BooleanField(default=False, db_default=False, editable=False)
    ctx = models.JSONField(default=dict, blank=True)
    priority = models.PositiveSmallIntegerField(default=50, help_text="0–100, the higher the sooner.")
    singleton_key = models.CharField(max_length=200, blank=True)

    status = models.CharField(max_length=20, choices=Status, default=Status.QUEUED)
    attempt = models.PositiveIntegerField(default=0, help_text="Attempts begun.")
    max_attempts = models.PositiveIntegerField(default=3)
    run_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)
    retry_policy = models.JSONField(
        null=True, blank=True, help_text="What this job says of its retries, over what its kind says."
    )
    timeout_seconds = models.PositiveIntegerField(default=300)
    # How many jobs of its kind one process may claim with it; 1 once an attempt of it was lost, so that a
    # job that kills its process takes no neighbour with it.
    batch_size = models.PositiveSmallIntegerField(default=1)

    lease_token = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=200, blank=True, help_text="Who holds or held the last attempt.")
    started_at = models.DateTimeField(null=True, blank=True, help_text="When the last attempt began.")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    progress = models.PositiveSmallIntegerField(default=0, help_text="Percent.")
    result = models.JSONField(null=True, blank=True)
    error = models.JSONField(
        null=True, blank=True, help_text="The last attempt's {code, message, traceback}."
    )
    error_fingerprint = models.UUIDField(
        null=True, blank=True, editable=False, help_text="The ErrorGroup of that error."
    )

    trace_id = models.CharField(max_length=32)
    request_id = models.CharField(max_length=128, blank=True)
    actor_id = models.CharField(max_length=200, blank=True)

    workflow = models.ForeignKey(
        Workflow, on_delete=models.PROTECT, related_name="jobs", null=True, blank=True, db_index=False
    )
    step_index = models.PositiveSmallIntegerField(null=True, blank=True)
    step_name = models.CharField(max_length=100, blank=True)

    created_at = models.DateTimeField(db_default=Now(), editable=False)
    completed_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        permissions = [("reveal_payloads", "Can reveal masked values")]
        indexes = [
            # Read by sql/claim_in_house.sql.
            models.Index(
                "queue",
                Coalesce("tenant", models.Value(PLATFORM, output_field=models.UUIDField())),
                models.F("priority").desc(),
                "run_at",
                "id",
                name="job_due_in_house",
                condition=models.Q(status="queued", service_required=""),
            ),
            # Read by sql/claim_remote.sql.
            models.Index(
                "tenant",
                "service_required",
                models.F("priority").desc(),
                "run_at",
                "id",
                name="job_due_remote",
                condition=models.Q(status="queued") & ~models.Q(service_required=""),
            ),
            # Read by the sweep.
            models.Index(
                name="job_leased", fields=["lease_expires_at"], condition=models.Q(status="running")
            ),
            models.Index(
                name="job_expiring",
                fields=["expires_at"],
                condition=models.Q(status__in=["waiting", "queued"], expires_at__isnull=False),
            ),
            # Read by the evaluator: jobs outside a workflow that have ended and were not looked at since.
            models.Index(
                name="job_to_evaluate",
                fields=["id"],
                condition=models.Q(
                    is_cleanup_evaluated=False,
                    workflow__isnull=True,
                    status__in=["completed", "failed", "cancelled"],
                ),
            ),
            # Read by a tenant's own list, newest first.
            models.Index(name="job_tenant_newest", fields=["tenant", "-id"]),
            # Read by the monitor's lists. Each takes in few jobs, or a job once, when it has ended: an index over all
            # of them would be written anew with every change of their status.
            models.Index(
                name="job_ended_badly",
                fields=["status", "-id"],
                condition=models.Q(status__in=["failed", "cancelled"]),
            ),
            models.Index(
                name="job_problem", fields=["problem_type", "-id"], condition=~models.Q(problem_type="")
            ),
            models.Index(
                name="job_error",
                fields=["error_fingerprint", "-id"],
                condition=models.Q(status="failed", error_fingerprint__isnull=False),
            ),
            models.Index(
                name="job_trace",
                fields=["trace_id"],
                condition=models.Q(status__in=["completed", "failed", "cancelled"]),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                name="job_step_of_workflow",
                fields=["workflow", "step_index"],
                condition=models.Q(workflow__isnull=False),
            ),
            models.UniqueConstraint(
                Coalesce("tenant", models.Value(PLATFORM, output_field=models.UUIDField())),
                "kind",
                "service_required",
                "singleton_key",
                name="job_singleton",
                condition=models.Q(status__in=["waiting", "queued", "running"]) & ~models.Q(singleton_key=""),
            ),
            models.CheckConstraint(
                name="job_status_known",
                condition=models.Q(
                    status__in=["waiting", "queued", "running", "completed", "failed", "cancelled"]
                ),
            ),
            models.CheckConstraint(
                name="job_in_house_or_remote",
                condition=models.Q(kind="", tenant__isnull=False) ^ models.Q(service_required=""),
            ),
            models.CheckConstraint(
                name="job_lease_while_running",
                condition=models.Q(
                    status="running",
                    lease_token__isnull=False,
                    lease_expires_at__isnull=False,
                    started_at__isnull=False,
                    attempt__gte=1,
                )
                | (~models.Q(status="running") & models.Q(lease_token__isnull=True)),
            ),
            models.CheckConstraint(
                name="job_final_state_timed",
                condition=(models.Q(status="completed") ^ models.Q(completed_at__isnull=True))
                & (models.Q(status="failed") ^ models.Q(failed_at__isnull=True))
                & (models.Q(status="cancelled") ^ models.Q(cancelled_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="job_waits_in_workflow",
                condition=~models.Q(status="waiting") | models.Q(workflow__isnull=False),
            ),
            models.CheckConstraint(
                name="job_numbers_bounded",
                condition=models.Q(
                    priority__lte=100,
                    progress__lte=100,
                    max_attempts__gte=1,
                    attempt__lte=models.F("max_attempts"),
                    timeout_seconds__gte=1,
                    batch_size__gte=1,
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"

    @property
    def name(self) -> str:
        """What the job runs: its kind in-house, its service elsewhere."""
        return self.kind or self.service_required

    @property
    def is_remote(self) -> bool:
        return bool(self.service_required)

    @property
    def is_final(self) -> bool:
        return self.status not in self.LIVE

    @property
    def ended_at(self) -> datetime | None:
        return self.completed_at or self.failed_at or self.cancelled_at

    @property
    def attempts_left(self) -> int:
        return max(self.max_attempts - self.attempt, 0)
