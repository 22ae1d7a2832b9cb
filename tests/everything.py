"""A row of everything the monitor has pages of."""

from __future__ import annotations

from uuid import uuid4

from django.contrib.auth.models import Group
from django.db.models import Model
from django.utils import timezone

from jobs.models import BulkOperation, ErrorGroup, EvaluationRun, Job, SavedView, Schedule, Tenant
from jobs.rollups.errors import fingerprint_of
from tests.factories import (
    make_attempt,
    make_attestation,
    make_audit_entry,
    make_cluster,
    make_collection,
    make_delivery,
    make_endpoint,
    make_event,
    make_job,
    make_key,
    make_receipt,
    make_sender,
    make_service,
    make_session,
    make_submission,
    make_transaction,
    make_user,
    make_worker,
    make_workflow,
)

Rows = dict[str, Model]


def rows_of(tenant: Tenant) -> Rows:
    """A row of everything that belongs to tenants."""
    trace = uuid4().hex
    workflow = make_workflow(tenant, trace_id=trace)
    step = {"service_required": "artgen", "workflow": workflow, "step_index": 0, "trace_id": trace}
    job = make_job(tenant, status="failed", **step)
    delivery = make_delivery(make_endpoint(tenant), status="failed")
    make_attempt(delivery)
    sender = make_sender(tenant)
    submission = make_submission(tenant)
    rows: list[Model] = [
        tenant,
        workflow,
        job,
        make_attestation(make_job(tenant, status="failed")),
        make_session(tenant),
        submission,
        make_transaction(submission),
        make_event(job),
        make_worker(tenant),
        make_collection(tenant),
        make_key(tenant)[0],
        make_operation(tenant),
        make_error_group(job),
        make_audit_entry(tenant),
        delivery.endpoint,
        delivery.message,
        delivery,
        sender,
        make_receipt(sender),
    ]
    return {row._meta.label: row for row in rows}


def rows_of_the_platform() -> Rows:
    """A row of everything that is nobody's."""
    bystander = make_user("bystander")
    rows: list[Model] = [
        SavedView.objects.create(user=bystander, model="jobs.Job", name="mine", query="status=failed"),
        Schedule.objects.order_by("pk")[0],
        EvaluationRun.objects.create(problems={"stuck": 1}, categories={"incomplete": 1}),
        make_cluster(),
        make_service("artgen"),
        bystander,
        Group.objects.create(name="night shift"),
    ]
    return {row._meta.label: row for row in rows}


def make_operation(tenant: Tenant) -> BulkOperation:
    return BulkOperation.objects.create(
        tenant=tenant,
        model="jobs.Job",
        verb="retry_jobs",
        title="Retry",
        keys=[],
        total_count=0,
        actor="alice",
        user_id=0,
    )


def make_error_group(job: Job) -> ErrorGroup:
    return ErrorGroup.objects.create(
        tenant=job.tenant,
        sample_job_id=job.pk,
        fingerprint=fingerprint_of(job.tenant_id, "artgen", "boom", "It broke."),
        name="artgen",
        code="boom",
        message="It broke.",
        count=1,
        first_seen_at=timezone.now(),
        last_seen_at=timezone.now(),
    )
