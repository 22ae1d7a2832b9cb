"""Addresses of the ground floor."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponseBase
from django.urls import URLPattern, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from jobs.api import artifacts, collections, forensics, health, jobs, streams, workers, workflows
from jobs.api.fields import WORKFLOW_ID

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
JOB = rf"(?P<job_id>{UUID})"
COLLECTION = rf"(?P<collection_id>{UUID})"


def api(route: str, view: Callable[..., HttpResponseBase], name: str = "") -> URLPattern:
    """An address of the API, with or without a slash at its end."""
    return re_path(rf"^{route}/?$", view, name=name)


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    api("healthz", health.healthz),
    api("readyz", health.readyz),
    api("api/schema", SpectacularAPIView.as_view(), "schema"),
    api("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), "docs"),
    api("api/jobs", jobs.JobList.as_view(), "jobs"),
    api("api/jobs/bulk", jobs.BulkJobs.as_view(), "bulk"),
    api("api/jobs/complete", workers.CompleteMany.as_view()),
    api("api/jobs/enqueue", jobs.EnqueueJob.as_view(), "enqueue"),
    api(f"api/jobs/{JOB}", jobs.JobDetail.as_view(), "job"),
    api(f"api/jobs/{JOB}/events", streams.JobEvents.as_view(), "job-events"),
    api(f"api/jobs/{JOB}/cancel", jobs.CancelJob.as_view()),
    api(f"api/jobs/{JOB}/retry", jobs.RetryJob.as_view()),
    api(f"api/jobs/{JOB}/heartbeat", workers.Heartbeat.as_view()),
    api(f"api/jobs/{JOB}/progress", workers.Progress.as_view()),
    api(f"api/jobs/{JOB}/log", workers.Log.as_view()),
    api(f"api/jobs/{JOB}/complete", workers.Complete.as_view()),
    api(f"api/jobs/{JOB}/fail", workers.Fail.as_view()),
    api(f"api/jobs/{JOB}/artifacts/(?P<name>[^/]+)", artifacts.StoreArtifact.as_view()),
    api("api/workers/claim", workers.Claim.as_view(), "claim"),
    api("api/collections", collections.CollectionList.as_view(), "collections"),
    api(f"api/collections/{COLLECTION}", collections.CollectionDetail.as_view(), "collection"),
    api(f"(?:api/)?collections/{COLLECTION}/generations", collections.GenerationList.as_view()),
    api("api/workflows", workflows.WorkflowList.as_view(), "workflows"),
    api(f"api/workflows/(?P<workflow_id>{WORKFLOW_ID})", workflows.WorkflowDetail.as_view(), "workflow"),
    api(
        f"api/workflows/(?P<workflow_id>{WORKFLOW_ID})/events",
        streams.WorkflowEvents.as_view(),
        "workflow-events",
    ),
    api("api/stream-tokens", streams.StreamTokens.as_view(), "stream-tokens"),
    api(f"api/workflows/(?P<workflow_id>{WORKFLOW_ID})/forensics", forensics.WorkflowForensics.as_view()),
    api(f"api/workflows/(?P<workflow_id>{WORKFLOW_ID})/retry", workflows.RetryWorkflow.as_view()),
    api(f"api/workflows/(?P<workflow_id>{WORKFLOW_ID})/cancel", workflows.CancelWorkflow.as_view()),
    path("artifacts/<path:path>", artifacts.show_artifact, name="artifact"),
]
