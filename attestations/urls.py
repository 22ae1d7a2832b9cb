"""Addresses of the middle floor."""

from __future__ import annotations

from attestations.api import sessions, submissions
from attestations.api.attestations import AllAttestations
from jobs.api.fields import WORKFLOW_ID
from jobs.urls import UUID, api

SUBMISSION = rf"(?P<submission_id>{UUID})"

urlpatterns = [
    api(f"api/workflows/(?P<workflow_id>{WORKFLOW_ID})/all-attestations", AllAttestations.as_view()),
    api("api/workflow", sessions.SessionStream.as_view(), "session-stream"),
    api(
        r"api/workflow/sessions/(?P<session_id>[A-Za-z0-9][A-Za-z0-9._-]{0,99})",
        sessions.SessionDetail.as_view(),
        "session",
    ),
    api("api/submissions", submissions.SubmissionList.as_view(), "submissions"),
    api(f"api/submissions/{SUBMISSION}", submissions.SubmissionDetail.as_view(), "submission"),
    api(f"api/submissions/{SUBMISSION}/approve", submissions.ApproveSubmission.as_view()),
    api(f"api/submissions/{SUBMISSION}/reject", submissions.RejectSubmission.as_view()),
    api(f"api/submissions/{SUBMISSION}/publish", submissions.PublishSubmission.as_view()),
]
