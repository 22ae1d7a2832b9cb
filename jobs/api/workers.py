"""The workers' calls: claim, and report with the lease token."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.longpoll import ask_again_when
from jobs.api.fields import (
    BoundedListField,
    NameField,
    NumberField,
    ObjectField,
    StrictSerializer,
    shown,
    validated,
)
from jobs.api.jobs import JobSerializer, key_of
from jobs.models import Job
from jobs.queue.claim import Lease, Renewal, claim_remote
from jobs.queue.leases import touch_worker
from jobs.queue.wakeups import topic_of
from jobs.services.jobs import append_log, complete_job, complete_jobs, fail_job, heartbeat, report_progress

MAX_LINES = 1_000
MAX_LINE_CHARS = 10_000
MAX_RESULTS = 100


class ClaimSerializer(StrictSerializer):
    """Who asks for work, what it offers, how much it takes, and how long it will wait for some."""

    worker_id = NameField(max_length=200)
    services = serializers.ListField(child=NameField(), min_length=1, max_length=100)
    limit = serializers.IntegerField(required=False, default=1, min_value=1, max_value=100)
    wait_seconds = NumberField(required=False, default=0, min_value=0, max_value=30)


class ClaimedJobSerializer(StrictSerializer):
    """A job under a lease: every later call about it carries `lease_token`."""

    id = serializers.CharField()
    lease_token = serializers.CharField()
    lease_expires_at = serializers.DateTimeField()
    attempt = serializers.IntegerField()
    max_attempts = serializers.IntegerField()
    service_required = serializers.CharField()
    payload = ObjectField()
    ctx = ObjectField()
    priority = serializers.IntegerField()
    timeout_seconds = serializers.IntegerField()
    workflow_id = serializers.CharField(allow_null=True)
    step_index = serializers.IntegerField(allow_null=True)
    step_name = serializers.CharField()
    trace_id = serializers.CharField()
    request_id = serializers.CharField()
    actor_id = serializers.CharField()


CLAIMED_FIELDS = tuple(ClaimedJobSerializer().fields)


class ClaimedJobsSerializer(StrictSerializer):
    jobs = ClaimedJobSerializer(many=True)


class LeaseSerializer(StrictSerializer):
    """The lease a call is made under."""

    lease_token = serializers.UUIDField()


class ProgressSerializer(LeaseSerializer):
    progress = serializers.IntegerField(min_value=0, max_value=100)
    message = serializers.CharField(required=False, default="", max_length=1_000, allow_blank=True)


class LogSerializer(LeaseSerializer):
    lines = serializers.ListField(
        child=serializers.CharField(max_length=MAX_LINE_CHARS, allow_blank=True, trim_whitespace=False),
        min_length=1,
        max_length=MAX_LINES,
    )


class CompleteSerializer(LeaseSerializer):
    result = serializers.JSONField(required=False, default=None, allow_null=True)


class CompleteOneSerializer(CompleteSerializer):
    id = serializers.UUIDField()


class CompleteManySerializer(StrictSerializer):
    """Results of several jobs, each under its own lease."""

    jobs = BoundedListField(child=CompleteOneSerializer(), min_length=1, max_length=MAX_RESULTS)

    def validate_jobs(self, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A job has one result."""
        seen: set[UUID] = set()
        errors: dict[str, Any] = {}
        for index, job in enumerate(jobs):
            if job["id"] in seen:
                message = "An earlier result is for the same job."
                errors[str(index)] = {"id": [serializers.ErrorDetail(message, code="doubled")]}
            seen.add(job["id"])
        if errors:
            raise serializers.ValidationError(errors)
        return jobs


class CompletedSerializer(StrictSerializer):
    """How a job has ended, or that its lease is not live any more; failed where its result can't be stored."""

    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=["completed", "failed", "lease_lost"])


class CompletedManySerializer(StrictSerializer):
    jobs = CompletedSerializer(many=True)


class ErrorSerializer(StrictSerializer):
    code = serializers.RegexField(r"^[A-Za-z0-9._-]{1,100}\Z")
    message = serializers.CharField(max_length=10_000, allow_blank=True)


class FailSerializer(LeaseSerializer):
    error = ErrorSerializer()
    retryable = serializers.BooleanField(required=False, default=True)


class RenewalSerializer(StrictSerializer):
    """How long the lease now runs, and whether somebody asked the job to be cancelled."""

    lease_expires_at = serializers.DateTimeField()
    cancel_requested = serializers.BooleanField()


class Claim(APIView):
    """Work for a remote worker."""

    scopes = {"POST": "work"}

    @extend_schema(request=ClaimSerializer, responses=ClaimedJobsSerializer)
    def post(self, request: Request) -> Response:
        """Take up to `limit` due jobs under a lease of 30 s, waiting up to `wait_seconds` for the first."""
        fields, tenant_id = validated(ClaimSerializer, request.data), key_of(request).tenant_id
        touch_worker(fields["worker_id"], tenant_id=tenant_id, services=fields["services"])
        rows = claim_remote(tenant_id, fields["services"], fields["worker_id"], limit=fields["limit"])
        response = Response({"jobs": [claimed_job(row) for row in rows]})
        if not rows and fields["wait_seconds"]:
            topics = [topic_of(tenant_id, service, is_remote=True) for service in fields["services"]]
            ask_again_when(response, topics, seconds=fields["wait_seconds"])
        return response


def claimed_job(row: Any) -> dict[str, Any]:
    """A claimed row as the worker gets it."""
    values = {name: getattr(row, name) for name in CLAIMED_FIELDS}
    return {**values, "id": str(row.id), "lease_token": str(row.lease_token)}


class JobReport(APIView):
    """A worker's word about a job it holds."""

    scopes = {"POST": "work"}

    def job(self, request: Request, job_id: str) -> Job:
        mine = Job.objects.of_tenant(key_of(request).tenant).exclude(service_required="")
        columns = ("id", "tenant_id", "workflow_id", "kind", "attempt", "max_attempts", "retry_policy")
        return get_object_or_404(mine.only(*columns), pk=job_id)


class Heartbeat(JobReport):
    @extend_schema(request=LeaseSerializer, responses=RenewalSerializer)
    def post(self, request: Request, job_id: str) -> Response:
        """Keep the lease alive; call it every 10 s while working."""
        asked = validated(LeaseSerializer, request.data)
        return _renewed(heartbeat(self.job(request, job_id), asked["lease_token"]))


class Progress(JobReport):
    @extend_schema(request=ProgressSerializer, responses=RenewalSerializer)
    def post(self, request: Request, job_id: str) -> Response:
        """Say how far the job is, in percent; renews the lease as well."""
        asked = validated(ProgressSerializer, request.data)
        job = self.job(request, job_id)
        return _renewed(report_progress(job, asked["lease_token"], asked["progress"], asked["message"]))


class Log(JobReport):
    @extend_schema(request=LogSerializer, responses=RenewalSerializer)
    def post(self, request: Request, job_id: str) -> Response:
        """Append lines to the job's log; renews the lease as well."""
        asked = validated(LogSerializer, request.data)
        return _renewed(append_log(self.job(request, job_id), asked["lease_token"], asked["lines"]))


class Complete(JobReport):
    @extend_schema(request=CompleteSerializer, responses=JobSerializer)
    def post(self, request: Request, job_id: str) -> Response:
        """End the job with its result. 409 `lease_lost` when the lease is not live any more."""
        asked = validated(CompleteSerializer, request.data)
        job = self.job(request, job_id)
        complete_job(job, asked["lease_token"], asked["result"])
        return _ended(job)


class CompleteMany(APIView):
    """A worker's results, several at a time."""

    scopes = {"POST": "work"}

    @extend_schema(
        request=CompleteManySerializer, responses=CompletedManySerializer, operation_id="jobs_complete_many"
    )
    def post(self, request: Request) -> Response:
        """End up to 100 jobs with their results. One whose lease is not live does not hold up the others."""
        asked = validated(CompleteManySerializer, request.data)["jobs"]
        results = {Lease(job["id"], job["lease_token"]): job["result"] for job in asked}
        ended = complete_jobs(key_of(request).tenant, results)
        answers = [{"id": str(job["id"]), "status": ended.get(job["id"], "lease_lost")} for job in asked]
        return Response({"jobs": answers})


class Fail(JobReport):
    @extend_schema(request=FailSerializer, responses=JobSerializer)
    def post(self, request: Request, job_id: str) -> Response:
        """End this attempt with an error; `retryable` false ends the job."""
        asked = validated(FailSerializer, request.data)
        job = self.job(request, job_id)
        error = asked["error"]
        fail_job(job, asked["lease_token"], error["code"], error["message"], is_retryable=asked["retryable"])
        return _ended(job)


def _renewed(renewal: Renewal) -> Response:
    return Response({"lease_expires_at": renewal.expires_at, "cancel_requested": renewal.is_cancel_requested})


def _ended(job: Job) -> Response:
    return Response(shown(JobSerializer, Job.objects.select_related("workflow").get(pk=job.pk)))
