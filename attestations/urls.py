"""Addresses of the middle floor."""

from __future__ import annotations

from attestations.api.attestations import AllAttestations
from jobs.api.fields import WORKFLOW_ID
from jobs.urls import api

urlpatterns = [
    api(f"api/workflows/(?P<workflow_id>{WORKFLOW_ID})/all-attestations", AllAttestations.as_view()),
]
