"""The live proof workflow: start or resume a session and watch it, or look at it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from attestations.models import ProofSession
from attestations.sessions.starting import (
    PROOF_TYPES,
    ends_at,
    find_session,
    name_of,
    refuse_if_over,
    start_session,
)
from attestations.sessions.telling import SessionSource, describe_session
from config.streaming import Access
from jobs.api.authentication import actor_of
from jobs.api.jobs import key_of
from jobs.api.streams import EventStreamView
from jobs.errors import InvalidInput
from jobs.models import ApiKey, Tenant
from jobs.streams.access import KeyAccess, stream_access
from jobs.streams.serving import open_stream


class LineSerializer(serializers.Serializer[Any]):
    """A line that a phase's program has printed; the time is milliseconds of the epoch."""

    message = serializers.CharField()
    timestamp = serializers.IntegerField()


class SessionSerializer(serializers.Serializer[Any]):
    """The state of a session. Results are there once their phase is complete; times are milliseconds of the epoch."""

    sessionId = serializers.CharField()  # noqa: N815
    proofType = serializers.ChoiceField(choices=PROOF_TYPES)  # noqa: N815
    status = serializers.ChoiceField(choices=["running", "complete", "error"])
    currentStep = serializers.CharField()  # noqa: N815
    progress = serializers.IntegerField(help_text="0, 33, 66 or 100.")
    logs = LineSerializer(many=True, help_text="The last 1,000 lines.")
    generatedProofs = serializers.ListField(child=serializers.DictField(), required=False)  # noqa: N815
    verificationResults = serializers.DictField(required=False)  # noqa: N815
    attestationResults = serializers.DictField(required=False)  # noqa: N815
    error = serializers.CharField(required=False)
    startTime = serializers.IntegerField()  # noqa: N815
    lastUpdate = serializers.IntegerField()  # noqa: N815


class SessionStream(EventStreamView):
    """A session's stream, which starts the session where there is none of its name."""

    scopes = {"GET": "submit"}
    # Not HEAD: what starts work must be asked for.
    http_method_names = ["get", "options"]

    @extend_schema(
        operation_id="workflow_stream",
        parameters=[
            OpenApiParameter("sessionId", str, required=True, description="Your own name of the session."),
            OpenApiParameter(
                "proofType", str, enum=PROOF_TYPES, description="Needed where the session is new."
            ),
        ],
        responses={
            (200, "text/event-stream"): OpenApiResponse(
                OpenApiTypes.STR, "Events `status`, `log`, `transaction`, `complete` and `error`."
            ),
            204: OpenApiResponse(description="The session has ended, and you have seen all of it."),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Start a session, or resume it after `Last-Event-ID`; see docs/streaming.md."""
        access, tenant = stream_access(request, scope="submit", permission="attestations.view_proofsession")
        session_id = request.query_params.get("sessionId", "")
        if tenant is None:
            raise InvalidInput.at("/tenant", "required", "An operator names the tenant: ?tenant=SLUG.")
        session = self._session(request, access, tenant, session_id)
        return open_stream(request, SessionSource.name, session.pk, access=access, ends_at=ends_at(session))

    def _session(self, request: Request, access: Access, tenant: Tenant, session_id: str) -> ProofSession:
        if isinstance(access, KeyAccess):
            proof_type = request.query_params.get("proofType", "")
            key = request.auth
            actor = actor_of(request.headers, key) if isinstance(key, ApiKey) else access.holder
            return start_session(tenant, session_id, proof_type, actor_id=actor)[0]
        # With a cookie any page could have a browser ask: that starts nothing.
        session = find_session(tenant, session_id)
        if session is None:
            raise PermissionDenied("Operators start sessions in the admin; here they watch them.")
        refuse_if_over(session)
        return session


class SessionDetail(APIView):
    """A session's state, as one document."""

    scopes = {"GET": "submit"}

    @extend_schema(operation_id="workflow_session", responses=SessionSerializer)
    def get(self, request: Request, session_id: str) -> Response:
        """Look at a session; 410 once it is over, an hour after it began."""
        mine = ProofSession.objects.filter(tenant=key_of(request).tenant)
        session = get_object_or_404(mine, workflow_id=name_of(session_id))
        refuse_if_over(session)
        return Response(describe_session(session))
