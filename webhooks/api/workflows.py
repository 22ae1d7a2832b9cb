"""Workflows, and jobs outside them: tell of their end once more."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api.idempotency import idempotent
from jobs.api.jobs import JobSerializer, JobVerb
from jobs.api.workflows import ReasonSerializer, WorkflowDetailSerializer, WorkflowVerb
from webhooks.services.renotify import renotify_job, renotify_workflow


class RenotifyWorkflow(WorkflowVerb):
    @extend_schema(request=ReasonSerializer, responses=WorkflowDetailSerializer)
    @idempotent
    def post(self, request: Request, workflow_id: str) -> Response:
        """Tell the endpoints once more how the workflow has ended; nothing is run again."""
        return self.act(request, workflow_id, renotify_workflow)


class RenotifyJob(JobVerb):
    @extend_schema(request=ReasonSerializer, responses=JobSerializer)
    @idempotent
    def post(self, request: Request, job_id: str) -> Response:
        """Tell the endpoints once more how a job outside a workflow has ended; nothing is run again."""
        return self.act(request, job_id, renotify_job, ReasonSerializer)
