"""Live streams of jobs and workflows, and the tokens that browsers open them with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.streaming import Access
from jobs.api.fields import StrictSerializer, validated
from jobs.api.jobs import key_of
from jobs.api.permissions import HasScope, scope_of
from jobs.errors import InvalidInput
from jobs.models import Job, Scope, Workflow
from jobs.streams.access import SessionAccess, stream_access
from jobs.streams.serving import open_stream
from jobs.streams.tokens import LONGEST_SECONDS, USUAL_SECONDS, make_token

ABOUT_STREAMS: dict[str, Any] = {
    "parameters": [
        OpenApiParameter(
            "Last-Event-ID", str, OpenApiParameter.HEADER, description="The last `id` that was seen."
        ),
        OpenApiParameter("last_event_id", str, description="The same, for those who can set no header."),
        OpenApiParameter("token", str, description="A stream token, for those who have no key."),
    ],
    "responses": {
        (200, "text/event-stream"): OpenApiTypes.STR,
        204: None,  # the client has seen the end
    },
}


class MayWatch(HasScope):
    """Lets a GET through to its view, which asks `stream_access`: who watches may have a token, or be logged in."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return scope_of(view, request.method or "") is not None or super().has_permission(request, view)


class AnyEventStream(BaseContentNegotiation):
    """Takes every `Accept`: a stream is a stream, and what goes wrong is a problem."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, str(first.media_type)


class EventStreamView(APIView):
    """A stream of server-sent events.

    Its GET calls `stream_access` first, and answers `open_stream`.
    """

    permission_classes = [MayWatch]
    content_negotiation_class = AnyEventStream

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if "token" in request.GET:
            # A page of another site may watch with what it was given; no cookie of ours is of any use to it.
            response["Access-Control-Allow-Origin"] = "*"
        return response


class JobEvents(EventStreamView):
    """A job, live."""

    scopes: ClassVar[dict[str, str]] = {"GET": "read"}

    @extend_schema(**ABOUT_STREAMS)
    def get(self, request: Request, job_id: str) -> HttpResponseBase:
        """Watch a job: what happened, and what happens, until it has ended.

        Its story comes as events named by their type (`log`, `progress`, `cancel_requested`, …), each with an `id`;
        its state comes as `job`, without an id, at first and whenever it has changed; the last one is `end`, with
        its `status` (and an id like `123-end`: take ids for texts). A client that was cut off goes on behind the `Last-Event-ID` it names; 204 means that it has
        seen the end. After `reset` the story is told again from the beginning.
        """
        access, tenant = stream_access(request, scope="read", permission="jobs.view_job")
        jobs = Job.objects.all() if tenant is None else Job.objects.of_tenant(tenant)
        if not jobs.filter(pk=job_id).exists():
            raise Http404
        return open_stream(request, source_for(access, "job"), UUID(job_id), access=access)


class WorkflowEvents(EventStreamView):
    """A workflow, live."""

    scopes: ClassVar[dict[str, str]] = {"GET": "read"}

    @extend_schema(**ABOUT_STREAMS)
    def get(self, request: Request, workflow_id: str) -> HttpResponseBase:
        """Watch a workflow and its jobs: what happened, and what happens, until it has ended.

        As the stream of a job, with the events of all its jobs, each with its `job_id`; the state comes as
        `workflow`, and as a `job` for each step that has changed.
        """
        access, tenant = stream_access(request, scope="read", permission="jobs.view_workflow")
        workflows = Workflow.objects.all() if tenant is None else Workflow.objects.of_tenant(tenant)
        key = _only_key(workflows.filter(workflow_id=workflow_id))
        return open_stream(request, source_for(access, "workflow"), key, access=access)


def source_for(access: Access, name: str) -> str:
    """The source that tells somebody: people at the monitor are told with masks, as their pages are."""
    return f"{name}_masked" if isinstance(access, SessionAccess) else name


def _only_key(workflows: QuerySet[Workflow]) -> UUID:
    """The one that is meant; a name is unique in its tenant only."""
    keys = list(workflows.values_list("pk", flat=True)[:2])
    if not keys:
        raise Http404
    if len(keys) > 1:
        raise InvalidInput.at(
            "/tenant", "tenant_needed", "Several tenants have a workflow of this name: ?tenant= says which."
        )
    return keys[0]


class NewTokenSerializer(StrictSerializer):
    """What a token is good for, and for how long."""

    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=[Scope.READ, Scope.SUBMIT]),
        required=False,
        min_length=1,
        max_length=2,
        default=lambda: [Scope.READ.value],
    )
    expires_in_seconds = serializers.IntegerField(
        required=False, default=USUAL_SECONDS, min_value=1, max_value=LONGEST_SECONDS
    )


class TokenSerializer(StrictSerializer):
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class HasKey(HasScope):
    """Lets every key through to a view that looks at its scopes itself."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.auth is not None and (
            scope_of(view, request.method or "") is not None or super().has_permission(request, view)
        )


class StreamTokens(APIView):
    """Tokens for browsers, which can send no key."""

    permission_classes = [HasKey]
    scopes: ClassVar[dict[str, str]] = {"POST": "read"}

    @extend_schema(request=NewTokenSerializer, responses={201: TokenSerializer})
    def post(self, request: Request) -> Response:
        """Make a token that opens streams, as `?token=`, with some of the key's scopes and until it expires.

        `submit` opens proof sessions, and is asked for by a key that has it. A token ends with its key.
        """
        asked, key = validated(NewTokenSerializer, request.data), key_of(request)
        scopes = list(dict.fromkeys(asked["scopes"]))
        for scope in scopes:
            if not key.allows(scope):
                raise PermissionDenied(f"The key itself is not of scope {scope!r}.", code="scope_missing")
        token, expires_at = make_token(key, scopes, seconds=asked["expires_in_seconds"])
        body = {"token": token, "expires_at": expires_at}
        answer = Response(body, status=status.HTTP_201_CREATED)
        answer["Cache-Control"] = "no-store"
        return answer
