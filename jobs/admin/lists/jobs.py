"""What the list of jobs is filtered and searched by, and which of its indexes lead there."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.admin import ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from jobs.admin.filters import (
    CollectionFilter,
    CreatedFilter,
    KindFilter,
    QueueFilter,
    ServiceFilter,
    TenantFilter,
    WorkflowFilter,
)
from jobs.admin.lists.criteria import (
    Choices,
    FieldCriterion,
    ModelChoiceCriterion,
    Reach,
    TraceCriterion,
    by_choice,
    by_key,
    by_text,
    trace_of,
)
from jobs.admin.lists.documents import by_json
from jobs.admin.lists.scans import Scan
from jobs.admin.searches import as_uuid, named_workflows
from jobs.models import Job, ProblemType, StatusCategory, Workflow

Status = Job.Status
FOUND_MAX = 10_000  # jobs of one trace or one user
# Of each status that has them, the conditions of its partial indexes: PostgreSQL sees them only in these words.
PLACES: dict[str, Q] = {
    Status.QUEUED: Q(status=Status.QUEUED, service_required="")
    | Q(Q(status=Status.QUEUED), ~Q(service_required="")),
    Status.RUNNING: Q(status=Status.RUNNING),
    Status.FAILED: Q(status=Status.FAILED),
    Status.CANCELLED: Q(status=Status.CANCELLED),
}
ENDED = [Status.COMPLETED, Status.FAILED, Status.CANCELLED]


class StatusFilter(ModelChoiceCriterion):
    title = "status"
    parameter_name = "status"
    ended_badly: ClassVar[frozenset[str]] = frozenset({Status.FAILED, Status.CANCELLED})

    def any_of(self, values: list[str]) -> Q:
        if self.reach() != Reach.SORTED or values is not self.wanted:
            return Q(status__in=values)
        found = Q()
        for value in values:
            found |= PLACES[value] if value in PLACES else waiting()
        return found

    def reach(self) -> Reach | None:
        wanted = set(self.wanted)
        if len(wanted) == 1 and wanted <= self.ended_badly:
            return Reach.ORDERED
        is_waiting = wanted == {Status.WAITING}
        return Reach.SORTED if wanted and (is_waiting or wanted <= PLACES.keys()) else None


def waiting() -> Q:
    """Jobs that wait for an earlier step: those of the workflows that run, which have an index."""
    running = Workflow.objects.filter(status=Workflow.Status.RUNNING).order_by().values("pk")
    return Q(status=Status.WAITING, workflow__in=running)


class JobTraceFilter(TraceCriterion):
    def any_of(self, values: list[str]) -> Q:
        traces = [trace_of(value) for value in values]
        if values is not self.wanted:
            return Q(trace_id__in=traces)
        return Q(pk__in=[key for trace in traces for key in traced_jobs(trace)])

    def reach(self) -> Reach | None:
        return Reach.FEW


def traced_jobs(trace: str) -> list[uuid.UUID]:
    """The jobs of a trace: what has ended by its index, steps by their workflow, the others among those that live."""
    ended = Job.objects.filter(status__in=ENDED, trace_id=trace)
    steps = Job.objects.filter(workflow__in=Workflow.objects.filter(trace_id=trace).order_by().values("pk"))
    live = Job.objects.filter(PLACES[Status.QUEUED] | PLACES[Status.RUNNING], trace_id=trace)
    found = [rows.order_by().values_list("pk", flat=True)[:FOUND_MAX] for rows in (ended, steps, live)]
    return list({key for keys in found for key in keys})


class UserFilter(FieldCriterion):
    """By the user whose workflow a job belongs to."""

    title = "user"
    parameter_name = "user"
    hint = "user id"

    def any_of(self, values: list[str]) -> Q:
        theirs = Workflow.objects.filter(user_id__in=values).exclude(user_id="").order_by()
        return Q(workflow__in=theirs.values("pk"))

    def reach(self) -> Reach | None:
        return Reach.FEW


class JobCollectionFilter(CollectionFilter):
    path = "workflow__collection"


class ErrorFilter(by_key("error", field="error_fingerprint", reach=Reach.ORDERED)):  # type: ignore[misc]
    """By the group of their error; only what has failed is in one."""

    hint = "of a group of errors"

    def any_of(self, values: list[str]) -> Q:
        return Q(super().any_of(values), status=Status.FAILED)


class ProblemFilter(ModelChoiceCriterion):
    title = "problem"
    parameter_name = "problem_type"
    words = ("problem",)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return ProblemType.choices

    def reach(self) -> Reach | None:
        return Reach.ORDERED if len(self.wanted) == 1 else Reach.SORTED


class CategoryFilter(ModelChoiceCriterion):
    title = "verdict"
    parameter_name = "status_category"
    words = ("category", "verdict")

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return StatusCategory.choices


JOB_FILTERS = [
    StatusFilter,
    CreatedFilter,
    TenantFilter,
    KindFilter,
    QueueFilter,
    ServiceFilter,
    CategoryFilter,
    ProblemFilter,
    by_json("payload", "payload"),
    by_json("result", "result"),
    JobTraceFilter,
    WorkflowFilter,
    UserFilter,
    JobCollectionFilter,
    by_text("worker", hint="name of a worker"),
    by_text("actor", field="actor_id", hint="who asked for it"),
    ErrorFilter,
]


def find_jobs(rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
    """The jobs a search means: by key, workflow, trace or user; else what the newest are to be compared with."""
    if key := as_uuid(term):
        return rows.filter(Q(pk=key) | Q(workflow=key))
    if workflows := named_workflows(term):
        return rows.filter(workflow__in=workflows)
    if is_trace(term):
        return rows.filter(pk__in=traced_jobs(term.lower()))
    if users_workflows := workflows_of_user(term):
        return rows.filter(Q(workflow__in=users_workflows))
    return Scan(
        Q(request_id=term)
        | Q(actor_id=term)
        | Q(worker__startswith=term)
        | Q(kind=term)
        | Q(service_required=term)
    )


def is_trace(term: str) -> bool:
    return len(term) == 32 and all(digit in "0123456789abcdef" for digit in term.lower())


def workflows_of_user(term: str) -> list[uuid.UUID]:
    """The newest workflows of a user, by their index."""
    theirs = Workflow.objects.filter(user_id=term).exclude(user_id="").order_by("-pk")
    return list(theirs.values_list("pk", flat=True)[:FOUND_MAX])


# Workflows.


class NotificationFilter(ModelChoiceCriterion):
    title = "user told"
    parameter_name = "notification_status"
    words = ("told", "notification")


class IndexedTraceFilter(TraceCriterion):
    """Workflows have an index of it, whatever their status."""

    def reach(self) -> Reach | None:
        return Reach.FEW


class NameFilter(FieldCriterion):
    """By the client's own name of it: one per tenant."""

    title = "workflow"
    parameter_name = "workflow"
    hint = "the client's name of it"

    def any_of(self, values: list[str]) -> Q:
        return Q(pk__in=[key for value in values for key in named_workflows(value)])

    def reach(self) -> Reach | None:
        return Reach.FEW


WORKFLOW_FILTERS = [
    by_choice("status", ordered=("running", "failed", "cancelled")),
    CreatedFilter,
    by_choice("kind", ordered=("proof",)),
    TenantFilter,
    CategoryFilter,
    ProblemFilter,
    NotificationFilter,
    by_json(
        "payload",
        "data",
        "miniapp_req",
        inside=[("data", "variables"), ("miniapp_req", "request_body", "variables")],
    ),
    IndexedTraceFilter,
    by_text("user", field="user_id", reach=Reach.ORDERED, hint="user id"),
    by_text("session", field="session_id", reach=Reach.ORDERED, hint="session id"),
    NameFilter,
    CollectionFilter,
]


def find_workflows(rows: QuerySet[Any], term: str) -> QuerySet[Any] | Scan:
    """The workflows a search means: by key, name, trace, user or session; else by the beginning of a name."""
    if key := as_uuid(term):
        return rows.filter(Q(pk=key) | Q(pk__in=named_workflows(term)))
    if workflows := named_workflows(term):
        return rows.filter(pk__in=workflows)
    if is_trace(term):
        return rows.filter(trace_id=term.lower())
    known = [Q(user_id=term), Q(session_id=term)]
    for owned in (rows.filter(each) for each in known):
        if owned.exists():
            return owned
    return Scan(Q(request_id=term) | Q(workflow_id__startswith=term))
