"""What the evaluator leaves besides its verdicts: its runs, whom it has to tell, what it saw of outputs."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Coalesce, Now

from jobs.models.evaluation import ProblemType
from jobs.models.jobs import PLATFORM
from jobs.models.tenants import Tenant, TenantQuerySet
from jobs.models.workflows import Workflow


class EvaluationRun(models.Model):
    """One run of the evaluator over all that was to be evaluated."""

    started_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True, blank=True, help_text="None where the run was cut off.")
    evaluated_count = models.PositiveIntegerField(default=0, help_text="Units it has judged.")
    waiting_count = models.PositiveIntegerField(default=0, help_text="Units it was too early to judge.")
    categories = models.JSONField(default=dict, help_text="Units by status_category.")
    problems = models.JSONField(default=dict, help_text="Units by problem_type.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def duration_ms(self) -> int | None:
        if self.finished_at is None:
            return None
        return int((self.finished_at - self.started_at).total_seconds() * 1000)


class ProblemAlert(models.Model):
    """What is still to be told of one tenant's problems of one type, and when that was done last."""

    tenant = models.ForeignKey(
        Tenant, on_delete=models.CASCADE, null=True, blank=True, help_text="None for the platform's own jobs."
    )
    problem_type = models.CharField(max_length=40, choices=ProblemType)
    untold_count = models.PositiveIntegerField(default=0)
    workflow_ids = models.JSONField(default=list, help_text="Some of the workflows not told of yet.")
    job_ids = models.JSONField(default=list, help_text="Some of the jobs not told of yet.")
    since = models.DateTimeField(null=True, blank=True, help_text="When the first of them was found.")
    told_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["ProblemAlert"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Coalesce("tenant", models.Value(PLATFORM, output_field=models.UUIDField())),
                "problem_type",
                name="alert_per_problem",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.problem_type} of {self.tenant_id}"


class OutputCheck(models.Model):
    """What was seen of an output whose name does not prove its type: its real content type, or why there is none."""

    class Status(models.TextChoices):
        MATCHES = "matches"  # it is what its name and its worker say
        MISMATCH = "mismatch"  # it is something else, or nothing says what it is
        ABSENT = "absent"  # there is no such file any more
        UNREACHABLE = "unreachable"  # it could not be looked at; tried again by the next runs

    class Source(models.TextChoices):
        SIGNATURE = "signature"  # the first bytes of the file
        EXTENSION = "extension"  # the name it has
        HEADER = "header"  # what its host says of it
        CONFIGURED = "configured"  # what OUTPUT_CONTENT_TYPES says of its service

    # Looked up by workflow and run, deleted with it; no constraints to check.
    workflow = models.ForeignKey(
        Workflow,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="output_checks",
    )
    workflow_run = models.PositiveIntegerField()
    url = models.TextField()
    status = models.CharField(max_length=20, choices=Status)
    content_type = models.CharField(max_length=100, blank=True, help_text="What it is.")
    source = models.CharField(max_length=20, choices=Source, blank=True, help_text="What says so.")
    declared_type = models.CharField(max_length=100, blank=True, help_text="What it is said to be.")
    detail = models.CharField(max_length=500, blank=True)
    tries = models.PositiveSmallIntegerField(default=1)
    checked_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(name="output_check_of_workflow", fields=["workflow", "workflow_run"])]

    def __str__(self) -> str:
        return f"{self.url}: {self.status}"
