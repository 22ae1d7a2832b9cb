"""Workflows: list, look at, retry, cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.api.authentication import actor_of
from jobs.api.fields import StrictSerializer, shown, validated
from jobs.api.idempotency import idempotent
from jobs.api.jobs import JobSerializer, key_of
from jobs.api.pagination import asked_filters
from jobs.models import Workflow
from jobs.services.workflows import cancel_workflow, retry_workflow


class WorkflowSerializer(serializers.ModelSerializer[Workflow]):
    """A workflow with everything that is known of it but its jobs."""

    tenant_id = serializers.CharField()
    collection_id = serializers.CharField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        model = Workflow
        fields = [
            "workflow_id",
            "tenant_id",
            "kind",
            "status",
            "collection_id",
            "user_id",
            "session_id",
            "priority",
            "miniapp_req",
            "data",
            "outputs",
            "attempt",
            "total_steps",
            "error",
            "retry_execution_data",
            "last_retry_attempt",
            "retry_completed_at",
            "notification_status",
            "trace_id",
            "request_id",
            "actor_id",
            "created_at",
            "ended_at",
            "completed_at",
            "failed_at",
            "cancelled_at",
            "is_cleanup_evaluated",
            "status_category",
            "problem_type",
            "problem_details",
            "evaluated_at",
        ]
        read_only_fields = fields


class WorkflowDetailSerializer(WorkflowSerializer):
    """A workflow with its jobs, in the order of its steps."""

    jobs = serializers.SerializerMethodField()

    class Meta(WorkflowSerializer.Meta):
        fields = [*WorkflowSerializer.Meta.fields, "jobs"]
        read_only_fields = fields

    @extend_schema_field(JobSerializer(many=True))
    def get_jobs(self, workflow: Workflow) -> list[dict[str, Any]]:
        jobs = self.context.get("jobs")
        if jobs is None:
            jobs = workflow.jobs.select_related("workflow").order_by("step_index")
        return JobSerializer(jobs, many=True).data  # type: ignore[return-value]


class ReasonSerializer(StrictSerializer):
    """Why something is done to a workflow or job; kept in its story."""

    reason = serializers.CharField(required=False, default="", max_length=1_000, allow_blank=True)


class WorkflowList(ListAPIView[Workflow]):
    """The tenant's workflows, newest first."""

    queryset = Workflow.objects.none()
    serializer_class = WorkflowSerializer
    scopes = {"GET": "read"}
    filters = (
        "status",
        "kind",
        "collection_id",
        "user_id",
        "session_id",
        "trace_id",
        "status_category",
        "problem_type",
    )

    def get_queryset(self) -> QuerySet[Workflow]:
        asked = asked_filters(Workflow, self.request.query_params, self.filters)
        return Workflow.objects.of_tenant(key_of(self.request).tenant).filter(**asked)

    @extend_schema(parameters=[OpenApiParameter(name, str) for name in filters])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class WorkflowDetail(RetrieveAPIView[Workflow]):
    """One workflow with its jobs."""

    queryset = Workflow.objects.none()
    serializer_class = WorkflowDetailSerializer
    scopes = {"GET": "read"}
    lookup_field = "workflow_id"

    def get_queryset(self) -> QuerySet[Workflow]:
        return Workflow.objects.of_tenant(key_of(self.request).tenant)


class WorkflowVerb(APIView):
    """Something done to one workflow of the tenant."""

    scopes = {"POST": "manage"}

    def workflow(self, request: Request, workflow_id: str) -> Workflow:
        mine = Workflow.objects.of_tenant(key_of(request).tenant)
        return get_object_or_404(mine, workflow_id=workflow_id)

    def act(self, request: Request, workflow_id: str, serve: Callable[..., Workflow]) -> Response:
        """Have a service do it, for the one who asks and for the reason that is given."""
        asked = validated(ReasonSerializer, request.data)
        by = actor_of(request.headers, key_of(request))
        workflow = serve(self.workflow(request, workflow_id), by=by, **asked)
        return Response(shown(WorkflowDetailSerializer, workflow))


class RetryWorkflow(WorkflowVerb):
    @extend_schema(request=ReasonSerializer, responses=WorkflowDetailSerializer)
    @idempotent
    def post(self, request: Request, workflow_id: str) -> Response:
        """Run a failed workflow again: only what failed; what has completed keeps its results."""
        return self.act(request, workflow_id, retry_workflow)


class CancelWorkflow(WorkflowVerb):
    @extend_schema(request=ReasonSerializer, responses=WorkflowDetailSerializer)
    @idempotent
    def post(self, request: Request, workflow_id: str) -> Response:
        """Stop a workflow: at once where no step runs, else when the running step has ended."""
        return self.act(request, workflow_id, cancel_workflow)
