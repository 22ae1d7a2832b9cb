"""Jobs: submit, list, look at, cancel, retry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.tracing import current_trace
from jobs.api.authentication import actor_of
from jobs.api.fields import ObjectField, StrictSerializer, shown, validated
from jobs.api.idempotency import idempotent
from jobs.api.pagination import asked_filters
from jobs.api.submit import BulkSerializer, EnqueueSerializer, NewJobSerializer, submit_job, submit_jobs
from jobs.models import ApiKey, Job, Tenant
from jobs.queue.enqueue import enqueue_job
from jobs.queue.handlers import get_handler
from jobs.services.jobs import cancel_job, retry_job


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job with everything that is known of it."""

    tenant_id = serializers.CharField(allow_null=True)
    workflow_id = serializers.SerializerMethodField(help_text="The workflow's own `workflow_id`, if any.")
    ended_at = serializers.DateTimeField(allow_null=True)
    retry = serializers.JSONField(
        source="retry_policy", read_only=True, allow_null=True, help_text="As it was submitted, if it was."
    )

    class Meta:
        model = Job
        fields = [
            "id",
            "tenant_id",
            "kind",
            "service_required",
            "queue",
            "status",
            "payload",
            "original_payload",
            "ctx",
            "priority",
            "attempt",
            "max_attempts",
            "retry",
            "run_at",
            "expires_at",
            "timeout_seconds",
            "singleton_key",
            "worker",
            "started_at",
            "lease_expires_at",
            "cancel_requested_at",
            "progress",
            "result",
            "error",
            "workflow_id",
            "step_index",
            "step_name",
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

    def get_workflow_id(self, job: Job) -> str | None:
        return job.workflow.workflow_id if job.workflow else None


class SubmittedJobsSerializer(StrictSerializer):
    jobs = JobSerializer(many=True)


class RetrySerializer(StrictSerializer):
    """Why a job is tried again, and with what payload instead of its own."""

    reason = serializers.CharField(required=False, default="", max_length=1_000, allow_blank=True)
    payload = ObjectField(required=False, default=None, allow_null=True)


def key_of(request: Request) -> ApiKey:
    """The key a request came with; the permission has made sure there is one."""
    key = request.auth
    assert isinstance(key, ApiKey)
    return key


def jobs_of(tenant: Tenant) -> QuerySet[Job]:
    """A tenant's jobs as the API shows them."""
    return Job.objects.of_tenant(tenant).select_related("workflow")


class JobList(ListAPIView[Job]):
    """Submit a job, or list what the tenant has submitted, newest first."""

    queryset = Job.objects.none()
    serializer_class = JobSerializer
    scopes = {"GET": "read", "POST": "submit"}
    filters = (
        "status",
        "kind",
        "service_required",
        "queue",
        "trace_id",
        "actor_id",
        "status_category",
        "problem_type",
    )

    def get_queryset(self) -> QuerySet[Job]:
        asked = asked_filters(Job, self.request.query_params, self.filters)
        return jobs_of(key_of(self.request).tenant).filter(**asked)

    @extend_schema(parameters=[OpenApiParameter(name, str) for name in filters])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NewJobSerializer, responses={201: JobSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Submit a job. It is durable when this answers 201."""
        asked = validated(NewJobSerializer, request.data)
        job = submit_job(key_of(request), actor_of(request.headers, key_of(request)), asked)
        location = reverse("job", args=[job.pk])
        return Response(
            shown(JobSerializer, job), status=status.HTTP_201_CREATED, headers={"Location": location}
        )


class BulkJobs(APIView):
    """Many jobs at once."""

    scopes = {"POST": "submit"}

    @extend_schema(request=BulkSerializer, responses={201: SubmittedJobsSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Submit up to 1,000 jobs, all or none. They are durable when this answers 201."""
        asked = validated(BulkSerializer, request.data)["jobs"]
        jobs = submit_jobs(key_of(request), actor_of(request.headers, key_of(request)), asked)
        return Response({"jobs": [shown(JobSerializer, job) for job in jobs]}, status=status.HTTP_201_CREATED)


class JobDetail(RetrieveAPIView[Job]):
    """One job."""

    queryset = Job.objects.none()
    serializer_class = JobSerializer
    scopes = {"GET": "read"}
    lookup_url_kwarg = "job_id"

    def get_queryset(self) -> QuerySet[Job]:
        return jobs_of(key_of(self.request).tenant)


class JobVerb(APIView):
    """Something done to one job of the tenant."""

    scopes = {"POST": "manage"}

    def job(self, request: Request, job_id: str) -> Job:
        return get_object_or_404(jobs_of(key_of(request).tenant), pk=job_id)

    def act(
        self, request: Request, job_id: str, serve: Callable[..., Job], fields: type[StrictSerializer]
    ) -> Response:
        """Have a service do it, for the one who asks and with the fields that are given."""
        asked = validated(fields, request.data)
        by = actor_of(request.headers, key_of(request))
        return Response(shown(JobSerializer, serve(self.job(request, job_id), by=by, **asked)))


class CancelJob(JobVerb):
    @extend_schema(request=None, responses=JobSerializer)
    @idempotent
    def post(self, request: Request, job_id: str) -> Response:
        """Stop a job: at once where it has not begun, at its worker's next word where it runs."""
        job = cancel_job(self.job(request, job_id), by=actor_of(request.headers, key_of(request)))
        return Response(shown(JobSerializer, job))


class RetryJob(JobVerb):
    @extend_schema(request=RetrySerializer, responses=JobSerializer)
    @idempotent
    def post(self, request: Request, job_id: str) -> Response:
        """Queue a failed or cancelled job again for one attempt more."""
        return self.act(request, job_id, retry_job, RetrySerializer)


class EnqueueJob(APIView):
    """Background jobs in a tenant envelope."""

    scopes = {"POST": "submit"}

    @extend_schema(
        request=EnqueueSerializer,
        responses={
            201: OpenApiResponse(
                description='`{"data": {"jobId", "jobName", "enqueuedAt"}, "meta": {"traceId"}}`'
            )
        },
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Enqueue an in-house job by name."""
        asked = validated(EnqueueSerializer, request.data)
        name, payload = asked["jobName"], asked["payload"]
        get_handler(name, pointer="/jobName", for_client=True)
        key = key_of(request)
        job_id = enqueue_job(name, payload, tenant_id=key.tenant_id, actor_id=actor_of(request.headers, key))
        body = {
            "data": {"jobId": str(job_id), "jobName": name, "enqueuedAt": timezone.now().isoformat()},
            "meta": {"traceId": current_trace().trace_id},
        }
        headers = {"Location": reverse("job", args=[job_id])}
        return Response(body, status=status.HTTP_201_CREATED, headers=headers)
