"""Which pages of the monitor are measured: every list plain and filtered, searches, deep pages, details, the overview."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Model
from django.urls import NoReverseMatch, reverse

from attestations.models import Attestation, Submission
from jobs.ids import first_id_of
from jobs.models import Collection, ErrorGroup, EvaluationRun, Event, Job, Queue, Tenant, Worker, Workflow
from webhooks.models import Delivery, Endpoint, Message, Receipt

Page = tuple[str, str]  # its name, its address


def all_pages() -> list[Page]:
    """Every page that is measured, under a name of its own."""
    return [
        *_overview(),
        *_plain_lists(),
        *_jobs(),
        *_workflows(),
        *_attestations(),
        *_webhooks(),
        *_others(),
        *_details(),
        *_exports(),
    ]


def restricted_pages() -> list[Page]:
    """What an operator of one tenant looks at most."""
    lists = (Job, Workflow, Attestation, Delivery, ErrorGroup)
    failed = Job.objects.filter(status="failed").order_by("-pk").first()
    return [
        ("restricted: overview", reverse("admin:index")),
        *((f"restricted: {name}", address) for name, address in map(_plain, lists)),
        ("restricted: failed jobs", _list(Job, status="failed")),
        ("restricted: jobs by payload", _list(Job, payload=f"prompt={_rare_prompt()}")),
        ("restricted: search for a job of another tenant", _list(Job, q=failed.pk if failed else "")),
    ]


def _list(model: type[Model], **query: Any) -> str:
    meta = model._meta
    address = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    return f"{address}?{urlencode(query)}" if query else address


def _plain(model: type[Model]) -> Page:
    return str(model._meta.verbose_name_plural), _list(model)


def _overview() -> Iterator[Page]:
    for window in ("hour", "day", "week"):
        yield f"overview, {window}", f"{reverse('admin:index')}?window={window}"
        yield f"overview's figures, {window}", f"{reverse('admin:overview_figures')}?window={window}"


def _plain_lists() -> Iterator[Page]:
    """The list of every model that the monitor shows."""
    for model in admin.site._registry:
        try:
            yield _plain(model)
        except NoReverseMatch:  # it has no list
            continue


def _jobs() -> Iterator[Page]:
    rare = Job.objects.filter(status="failed", payload__has_key="prompt").order_by("pk").first()
    group = ErrorGroup.objects.order_by("count").first()
    tenant = Tenant.objects.filter(slug__startswith="demo-").order_by("slug").last()
    assert rare
    assert group
    assert tenant
    filters: dict[str, dict[str, Any]] = {
        **{f"status {status}": {"status": status} for status in Job.Status.values},
        "status failed, cancelled": {"status": "failed,cancelled"},
        "status not completed": {"status__not": "completed"},
        "status not failed": {"status__not": "failed"},
        "in the last hour": {"created": "hour"},
        "in the last week": {"created": "week"},
        "of a tenant": {"tenant": tenant.slug},
        "not of a tenant": {"tenant__not": tenant.slug},
        "of a tenant, failed": {"tenant": tenant.slug, "status": "failed"},
        "of a kind": {"kind": "requests.reminder"},
        "not of a kind": {"kind__not": "system.ping"},
        "of a service": {"service": "paint"},
        "of a rare service": {"service": "animate"},
        "of a service, failed": {"service": "upscale", "status": "failed"},
        "not of a service": {"service__not": "paint"},
        "of a queue": {"queue": "default"},
        "verdict incomplete": {"status_category": "incomplete"},
        "verdict not complete": {"status_category__not": "complete"},
        "problem worker_failed": {"problem_type": "worker_failed"},
        "problem expired": {"problem_type": "expired"},
        "problem missing_output": {"problem_type": "missing_output"},
        "problem not worker_failed": {"problem_type__not": "worker_failed"},
        "of a common error": {"error": ErrorGroup.objects.latest("count").pk},
        "of a rare error": {"error": group.pk},
        "by a common value of the payload": {"payload": "style=poster"},
        "by a rare value of the payload": {"payload": f"seed={rare.payload.get('seed', 1)}"},
        "by a payload nobody has": {"payload": "prompt=nothing like it"},
        "by a result": {"result": "content_type=image/jpeg"},
        "of a trace": {"trace": rare.trace_id},
        "of a user": {"user": _user()},
        "of a collection": {"collection": Collection.objects.latest("pk").pk},
        "of a workflow": {"workflow": Workflow.objects.order_by("pk")[40].workflow_id},
        "of a worker": {"worker": "cpu-3"},
        "of an actor": {"actor": "service-1"},
        "failed, of a service, in the last day": {"status": "failed", "service": "paint", "created": "day"},
        "deep": {"before": first_id_of(_median_time(Job))},
        "deep, failed": {"before": first_id_of(_median_time(Job)), "status": "failed"},
    }
    searches = {
        "key": rare.pk,
        "part of a key": str(rare.pk)[:18],
        "trace": rare.trace_id,
        "workflow": Workflow.objects.order_by("pk")[60].workflow_id,
        "user": _user(),
        "worker": "gpu-3",
        "words": "a lighthouse",
        "nothing": "no-such-thing-anywhere",
        "qualifiers": 'status:failed -service:paint payload.style:"poster"',
    }
    yield from ((f"jobs, {name}", _list(Job, **query)) for name, query in filters.items())
    yield from ((f"jobs, search for {name}", _list(Job, q=term)) for name, term in searches.items())


def _workflows() -> Iterator[Page]:
    one = Workflow.objects.order_by("pk")[70]
    tenant = Tenant.objects.filter(slug__startswith="demo-").order_by("slug").last()
    assert tenant
    filters: dict[str, dict[str, Any]] = {
        **{f"status {status}": {"status": status} for status in Workflow.Status.values},
        "status not completed": {"status__not": "completed"},
        "in the last day": {"created": "day"},
        "of a tenant": {"tenant": tenant.slug},
        "of a tenant, failed": {"tenant": tenant.slug, "status": "failed"},
        "verdict filed": {"status_category": "filed"},
        "problem notification_missing": {"problem_type": "notification_missing"},
        "problem cancelled": {"problem_type": "cancelled"},
        "problem stuck": {"problem_type": "stuck"},
        "user told": {"notification_status": "told"},
        "user owed": {"notification_status": "owed"},
        "kind not generation": {"kind__not": "generation"},
        "by a common value of the payload": {"payload": "style=poster"},
        "by a rare value of the payload": {"payload": f"seed={one.data['variables']['seed']}"},
        "of a user": {"user": _user()},
        "of a session": {"session": Workflow.objects.exclude(session_id="").latest("pk").session_id},
        "of a trace": {"trace": one.trace_id},
        "of a collection": {"collection": one.collection_id},
        "deep": {"before": first_id_of(_median_time(Workflow))},
    }
    searches = {"name": one.workflow_id, "key": one.pk, "trace": one.trace_id, "user": _user()}
    searches |= {"beginning of a name": one.workflow_id[:15], "nothing": "no-such-thing-anywhere"}
    yield from ((f"workflows, {name}", _list(Workflow, **query)) for name, query in filters.items())
    yield from ((f"workflows, search for {name}", _list(Workflow, q=term)) for name, term in searches.items())


def _attestations() -> Iterator[Page]:
    one = Attestation.objects.order_by("pk")[80]
    filters: dict[str, dict[str, Any]] = {
        "completed": {"status": "completed"},
        "cancelled": {"status": "cancelled"},
        "not completed": {"status__not": "completed"},
        "of failed runs": {"attestation_type": "workflow_failure"},
        "of workflows": {"entity_type": "workflow"},
        "of a tenant": {"tenant": "demo-lumen"},
        "of a job": {"job": one.job_id},
        "of a workflow": {"workflow": one.workflow_key},
        "of a worker": {"worker": "cpu-3"},
        "in the last hour": {"created": "hour"},
        "deep": {"before": one.pk + Attestation.objects.count() // 2},
        "search for key": {"q": one.attestation_key},
        "search for job": {"q": one.job_id},
        "search for workflow": {"q": one.workflow_key},
        "search for nothing": {"q": "no-such-thing-anywhere"},
    }
    yield from ((f"attestations, {name}", _list(Attestation, **query)) for name, query in filters.items())


def _webhooks() -> Iterator[Page]:
    delivery = Delivery.objects.order_by("pk")[100]
    filters: dict[str, dict[str, Any]] = {
        **{f"status {status}": {"status": status} for status in Delivery.Status.values},
        "status not delivered": {"status__not": "delivered"},
        "reason address_refused": {"reason": "address_refused"},
        "reason redirected": {"reason": "redirected"},
        "of a type": {"type": "job.failed"},
        "of an endpoint": {"endpoint": delivery.endpoint_id},
        "of a message": {"message": delivery.message_id},
        "in the last day": {"created": "day"},
        "deep": {"before": first_id_of(_median_time(Delivery))},
        "search for key": {"q": delivery.pk},
    }
    yield from ((f"deliveries, {name}", _list(Delivery, **query)) for name, query in filters.items())
    message = Message.objects.order_by("pk")[100]
    messages: dict[str, dict[str, Any]] = {
        "of a type": {"type": "job.failed"},
        "of a trace": {"trace": message.trace_id},
        "of a tenant": {"tenant": "demo-lumen"},
        "search for key": {"q": message.pk},
    }
    yield from ((f"messages, {name}", _list(Message, **query)) for name, query in messages.items())
    receipts: dict[str, dict[str, Any]] = {
        "refused": {"state": "refused"},
        "waiting": {"state": "waiting"},
        "applied": {"state": "applied"},
        "of a path": {"path": "workflow_completed"},
        "of a tenant": {"tenant": "demo-lumen"},
    }
    yield from ((f"receipts, {name}", _list(Receipt, **query)) for name, query in receipts.items())


def _others() -> Iterator[Page]:
    errors: dict[str, dict[str, str]] = {
        "seen today": {"seen": "day"},
        "of a service": {"name": "paint"},
        "of a code": {"code": "out_of_memory"},
        "search": {"q": "memory"},
    }
    yield from ((f"errors, {name}", _list(ErrorGroup, **query)) for name, query in errors.items())
    yield "events, of a type", _list(Event, type="retried")
    yield "events, search for job", _list(Event, q=Job.objects.latest("pk").pk)
    yield "submissions, awaiting review", _list(Submission, status="awaiting_review")
    yield "workers, offline", _list(Worker, presence="offline")


def _details() -> Iterator[Page]:
    retried = Workflow.objects.filter(status="failed").latest("pk")
    named: dict[str, Model | None] = {
        "a failed job": Job.objects.filter(status="failed").latest("pk"),
        "a completed job": Job.objects.filter(status="completed").latest("pk"),
        "a queued job": Job.objects.filter(status="queued").latest("pk"),
        "a step": Job.objects.filter(workflow__isnull=False).latest("pk"),
        "a completed workflow": Workflow.objects.filter(status="completed").latest("pk"),
        "a failed workflow": retried,
        "an attestation": Attestation.objects.latest("pk"),
        "a delivery": Delivery.objects.filter(status="delivered").latest("pk"),
        "a message": Message.objects.latest("pk"),
        "a receipt": Receipt.objects.first(),
        "an endpoint": Endpoint.objects.latest("pk"),
        "a common error": ErrorGroup.objects.latest("count"),
        "a rare error": ErrorGroup.objects.order_by("count").first(),
        "a queue": Queue.objects.get(name="default", is_remote=False),
        "a worker": Worker.objects.latest("last_seen_at"),
        "a run of the evaluator": EvaluationRun.objects.latest("pk"),
        "a submission": Submission.objects.first(),
        "a collection": Collection.objects.latest("pk"),
        "a tenant": Tenant.objects.filter(slug__startswith="demo-").first(),
    }
    for name, record in named.items():
        assert record is not None, name
        meta = record._meta
        yield name, reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[record.pk])


def _exports() -> Iterator[Page]:
    for name, model in {"jobs": Job, "workflows": Workflow, "attestations": Attestation}.items():
        for kind in ("csv", "json"):
            route = f"admin:{model._meta.app_label}_{model._meta.model_name}_export"
            yield f"export of {name} as {kind}", reverse(route, args=[kind])
    yield (
        "export of failed jobs with payloads",
        f"{reverse('admin:jobs_job_export', args=['csv'])}?status=failed&with=payload",
    )


def _user() -> str:
    return Workflow.objects.exclude(user_id="").order_by("pk")[50].user_id


def _rare_prompt() -> str:
    job = Job.objects.filter(service_required="paint").order_by("pk").first()
    return str(job.payload["prompt"]) if job else ""


def _median_time(model: type[Any]) -> Any:
    first, last = model.objects.earliest("pk").created_at, model.objects.latest("pk").created_at
    return first + (last - first) / 2
