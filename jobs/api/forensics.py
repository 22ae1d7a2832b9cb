"""The timeline of a workflow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.api.jobs import key_of
from jobs.forensics.moments import millis
from jobs.forensics.phases import Gap
from jobs.forensics.timeline import Forensics, forensics_of
from jobs.models import Workflow
from jobs.models.evaluation import ProblemType, StatusCategory

GAPS_MAX = 5


class EvaluationSerializer(serializers.ModelSerializer[Workflow]):
    """The evaluator's verdict; blank until it has looked."""

    status_category = serializers.ChoiceField(choices=StatusCategory.choices, allow_blank=True)
    problem_type = serializers.ChoiceField(choices=ProblemType.choices, allow_blank=True)

    class Meta:
        model = Workflow
        fields = [
            "is_cleanup_evaluated",
            "status_category",
            "problem_type",
            "problem_details",
            "evaluated_at",
        ]
        read_only_fields = fields


class DurationsSerializer(serializers.Serializer[Any]):
    """Milliseconds in each phase; but for `telling_ms`, which comes after it, they make up `duration_ms`."""

    queued_ms = serializers.IntegerField(help_text="Waiting for somebody to take the first step of a run.")
    running_ms = serializers.IntegerField(help_text="In attempts.")
    retrying_ms = serializers.IntegerField(help_text="From an attempt that failed to the next.")
    between_steps_ms = serializers.IntegerField(help_text="Waiting for somebody to take the next step.")
    stopped_ms = serializers.IntegerField(help_text="From a run that failed to its retry.")
    telling_ms = serializers.IntegerField(
        help_text="From the end until the user was known to be told or, without a user, an endpoint took the webhook; "
        "until now where that is still to come, until the last call that is known where it is known no more; "
        "0 with nobody to tell."
    )


class GapSerializer(serializers.Serializer[Gap]):
    """A time in which nothing happened."""

    ms = serializers.IntegerField()
    after = serializers.CharField(help_text="What had happened before it.")
    before = serializers.CharField(help_text="What happened then.")
    awaited = serializers.CharField(allow_blank=True, help_text="What was waited for.")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` is no name in Python.
        times = {
            "from": serializers.DateTimeField(source="begin"),
            "to": serializers.DateTimeField(source="end"),
        }
        return {**times, **super().get_fields()}


class MomentSerializer(serializers.Serializer[Any]):
    """Something that happened."""

    at = serializers.DateTimeField()
    type = serializers.CharField(help_text="A word for machines.")
    title = serializers.CharField(help_text="A sentence for people.")
    since_start_ms = serializers.IntegerField()
    gap_ms = serializers.IntegerField(help_text="Since the moment before.")
    duration_ms = serializers.IntegerField(allow_null=True, help_text="How long it had taken by then.")
    job_id = serializers.UUIDField(allow_null=True)
    step = serializers.CharField(allow_blank=True)
    attempt = serializers.IntegerField(
        allow_null=True, help_text="Of the job or the delivery; of a moment of the workflow, its run."
    )
    data = serializers.DictField()  # type: ignore[assignment]  # DRF takes it off the class


class ForensicsSerializer(serializers.Serializer[Any]):
    """What happened to a workflow, in order, and where the time went."""

    workflow_id = serializers.CharField()
    status = serializers.ChoiceField(choices=Workflow.Status.choices)
    run = serializers.IntegerField()
    notification_status = serializers.ChoiceField(choices=Workflow.NotificationStatus.choices)
    trace_id = serializers.CharField()
    evaluation = EvaluationSerializer()
    started_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    duration_ms = serializers.IntegerField(help_text="From the request to the end, or so far.")
    durations = DurationsSerializer()
    gaps = GapSerializer(many=True, help_text="The 5 longest, of a second at least, the longest first.")
    timeline = MomentSerializer(many=True)
    left_out = serializers.DictField(
        child=serializers.IntegerField(), help_text="How many of what the timeline does not show."
    )


class WorkflowForensics(APIView):
    """Everything that is known of how a workflow went."""

    scopes = {"GET": "read"}

    @extend_schema(responses=ForensicsSerializer)
    def get(self, request: Request, workflow_id: str) -> Response:
        """One timeline: request, steps, attempts, attestations, deliveries, the user's notice, the evaluation."""
        mine = Workflow.objects.of_tenant(key_of(request).tenant)
        workflow = get_object_or_404(mine, workflow_id=workflow_id)
        return Response(ForensicsSerializer(_body_of(workflow, forensics_of(workflow))).data)


def _body_of(workflow: Workflow, forensics: Forensics) -> dict[str, Any]:
    return {
        "workflow_id": workflow.workflow_id,
        "status": workflow.status,
        "run": workflow.attempt,
        "notification_status": workflow.notification_status,
        "trace_id": workflow.trace_id,
        "evaluation": workflow,
        "started_at": forensics.started_at,
        "ended_at": forensics.ended_at,
        "duration_ms": forensics.duration_ms,
        "durations": forensics.durations,
        "gaps": forensics.gaps[:GAPS_MAX],
        "timeline": list(_timeline_of(forensics)),
        "left_out": forensics.left_out,
    }


def _timeline_of(forensics: Forensics) -> Iterator[dict[str, Any]]:
    before: datetime = forensics.started_at
    for moment in forensics.moments:
        yield {
            "at": moment.at,
            "type": moment.type,
            "title": moment.title,
            "since_start_ms": millis(forensics.started_at, moment.at),
            "gap_ms": millis(before, moment.at),
            "duration_ms": moment.duration_ms,
            "job_id": moment.job_id,
            "step": moment.step,
            "attempt": moment.attempt,
            "data": moment.data,
        }
        before = moment.at
