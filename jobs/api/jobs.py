"""Jobs: submit, list, look at, cancel, retry."""

from __future__ import annotations

from typing import Any

from django.conf import settings
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
from jobs.api.fields import INT4_MAX, WORKFLOW_ID, NameField, ObjectField, StrictSerializer, shown, validated
from jobs.models import ApiKey, Job, Tenant
from jobs.queue.enqueue import NewJob, add_job, enqueue_job
from jobs.queue.handlers import get_handler
from jobs.services.jobs import cancel_job, retry_job
from jobs.services.workflows import Step, start_workflow


class NewJobSerializer(StrictSerializer):
    """A job to be submitted: exactly one of `kind` (in-house) and `service_required` (remote workers)."""

    kind = NameField(required=False, help_text="An in-house handler, like `system.ping`.")
    service_required = NameField(required=False, help_text="What a remote worker must offer.")
    payload = ObjectField(required=False, default=dict)
    ctx = ObjectField(required=False, default=dict)
    queue = serializers.ChoiceField(choices=settings.QUEUES, required=False, help_text="In-house only.")
    priority = serializers.IntegerField(required=False, default=50, min_value=0, max_value=100)
    run_at = serializers.DateTimeField(required=False, default=None)
    max_attempts = serializers.IntegerField(required=False, default=None, min_value=1, max_value=1_000)
    timeout_seconds = serializers.IntegerField(
        required=False, default=None, min_value=1, max_value=settings.JOB_TIMEOUT_SECONDS_MAX
    )
    expires_in_seconds = serializers.IntegerField(
        required=False, default=None, min_value=1, max_value=INT4_MAX
    )
    singleton_key = NameField(required=False, default="", max_length=200)
    workflow_id = serializers.RegexField(
        rf"^{WORKFLOW_ID}\Z", required=False, help_text="Makes the job a workflow of this name."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("kind" in attrs) == ("service_required" in attrs):
            raise serializers.ValidationError(
                "Give either kind or service_required.", code="kind_or_service_required"
            )
        if "queue" in attrs and "service_required" in attrs:
            message = "A remote job waits for its service; only an in-house kind takes a queue."
            raise serializers.ValidationError(
                {"queue": [serializers.ErrorDetail(message, code="in_house_only")]}
            )
        return attrs


class JobSerializer(serializers.ModelSerializer[Job]):
    """A job with everything that is known of it."""

    tenant_id = serializers.CharField(allow_null=True)
    workflow_id = serializers.SerializerMethodField(help_text="The workflow's own `workflow_id`, if any.")
    ended_at = serializers.DateTimeField(allow_null=True)

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


class RetrySerializer(StrictSerializer):
    """Why a job is tried again, and with what payload instead of its own."""

    reason = serializers.CharField(required=False, default="", max_length=1_000, allow_blank=True)
    payload = ObjectField(required=False, default=None, allow_null=True)


class EnqueueSerializer(StrictSerializer):
    """A background job in a tenant envelope."""

    jobName = NameField()  # noqa: N815  the wire's own spelling
    payload = ObjectField(required=False, default=dict)


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
    filters = ("status", "kind", "service_required", "queue", "trace_id", "actor_id", "problem_type")

    def get_queryset(self) -> QuerySet[Job]:
        asked = {
            name: self.request.query_params[name]
            for name in self.filters
            if name in self.request.query_params
        }
        return jobs_of(key_of(self.request).tenant).filter(**asked)

    @extend_schema(parameters=[OpenApiParameter(name, str) for name in filters])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(request=NewJobSerializer, responses={201: JobSerializer})
    def post(self, request: Request) -> Response:
        """Submit a job. It is durable when this answers 201."""
        asked = validated(NewJobSerializer, request.data)
        job = submit_job(key_of(request), actor_of(request.headers, key_of(request)), asked)
        location = reverse("job", args=[job.pk])
        return Response(
            shown(JobSerializer, job), status=status.HTTP_201_CREATED, headers={"Location": location}
        )


def submit_job(key: ApiKey, actor_id: str, asked: dict[str, Any]) -> Job:
    """Store what NewJobSerializer has validated, as a job or as a workflow of one."""
    options = {
        name: value for name, value in asked.items() if name not in NOT_OPTIONS and value not in (None, "")
    }
    kind, service = asked.get("kind", ""), asked.get("service_required", "")
    if "workflow_id" in asked:
        step = Step(
            name="job", kind=kind, service_required=service, payload=asked["payload"], options=options
        )
        _, jobs = start_workflow(
            key.tenant,
            workflow_id=asked["workflow_id"],
            steps=[step],
            actor_id=actor_id,
            data={
                "kind": kind,
                "service_required": service,
                "payload": asked["payload"],
                "ctx": asked["ctx"],
            },
            miniapp_req=asked["ctx"].get("miniapp_req"),
            priority=asked["priority"],
        )
        return jobs[0]
    new = NewJob(
        tenant_id=key.tenant_id,
        kind=kind,
        service_required=service,
        payload=asked["payload"],
        priority=asked["priority"],
        actor_id=actor_id,
        **options,
    )
    return add_job(new)


NOT_OPTIONS = {"kind", "service_required", "payload", "priority", "workflow_id"}


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


class CancelJob(JobVerb):
    @extend_schema(request=None, responses=JobSerializer)
    def post(self, request: Request, job_id: str) -> Response:
        """Stop a job: at once where it has not begun, at its worker's next word where it runs."""
        job = cancel_job(self.job(request, job_id), by=actor_of(request.headers, key_of(request)))
        return Response(shown(JobSerializer, job))


class RetryJob(JobVerb):
    @extend_schema(request=RetrySerializer, responses=JobSerializer)
    def post(self, request: Request, job_id: str) -> Response:
        """Queue a failed or cancelled job again for one attempt more."""
        asked = validated(RetrySerializer, request.data)
        by = actor_of(request.headers, key_of(request))
        job = retry_job(self.job(request, job_id), by=by, **asked)
        return Response(shown(JobSerializer, job))


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
    def post(self, request: Request) -> Response:
        """Enqueue an in-house job by name."""
        asked = validated(EnqueueSerializer, request.data)
        name, payload = asked["jobName"], asked["payload"]
        get_handler(name, pointer="/jobName")
        key = key_of(request)
        job_id = enqueue_job(name, payload, tenant_id=key.tenant_id, actor_id=actor_of(request.headers, key))
        body = {
            "data": {"jobId": str(job_id), "jobName": name, "enqueuedAt": timezone.now().isoformat()},
            "meta": {"traceId": current_trace().trace_id},
        }
        headers = {"Location": reverse("job", args=[job_id])}
        return Response(body, status=status.HTTP_201_CREATED, headers=headers)
