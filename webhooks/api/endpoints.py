"""Webhook endpoints: register, change, pause, resume, rotate, test, recover."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers, status
from rest_framework.generics import ListCreateAPIView, RetrieveDestroyAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.api.authentication import actor_of
from jobs.api.fields import INT4_MAX, BoundedListField, StrictSerializer, validated
from jobs.api.idempotency import idempotent
from jobs.api.jobs import key_of
from jobs.tenancy.sealing import Unreadable
from webhooks.api.deliveries import DeliverySerializer
from webhooks.events import CATALOGUE
from webhooks.models import Endpoint
from webhooks.services.deliveries import recover_deliveries, send_test
from webhooks.services.endpoints import (
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    headers_of,
    pause_endpoint,
    resume_endpoint,
)
from webhooks.services.secrets import KEPT_HOURS, KEPT_HOURS_MAX, revoke_earlier_secrets, rotate_secret

SECRET = serializers.CharField(help_text="Shown this once.")


class EndpointSerializer(serializers.ModelSerializer[Endpoint]):
    """An endpoint and how it fares; its secret and the values of its headers are nobody's to read."""

    tenant_id = serializers.CharField()
    state = serializers.CharField(help_text="active, resting, paused, disabled or deleted.")
    header_names = serializers.SerializerMethodField(
        help_text="Null where no key of the platform opens them."
    )

    class Meta:
        model = Endpoint
        fields = [
            "id",
            "tenant_id",
            "url",
            "description",
            "event_types",
            "header_names",
            "max_in_flight",
            "max_per_minute",
            "state",
            "paused_at",
            "paused_by",
            "disabled_at",
            "disabled_reason",
            "failures",
            "failing_since",
            "breaker_until",
            "last_success_at",
            "last_failure_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields

    def get_header_names(self, endpoint: Endpoint) -> list[str] | None:
        try:
            return headers_of(endpoint)
        except Unreadable:
            return None


class ChangedEndpointSerializer(StrictSerializer):
    """What can be said of an endpoint."""

    url = serializers.CharField(max_length=2_048)
    event_types = BoundedListField(
        child=serializers.CharField(max_length=60),
        required=False,
        max_length=100,
        help_text="None: every type, those to come as well.",
    )
    description = serializers.CharField(required=False, max_length=500, allow_blank=True)
    headers = serializers.DictField(
        child=serializers.CharField(max_length=1_000, allow_blank=True, trim_whitespace=False),
        required=False,
        help_text="Sent along with each message, like `Authorization`. Stored sealed.",
    )
    max_in_flight = serializers.IntegerField(required=False, min_value=1, max_value=200)
    max_per_minute = serializers.IntegerField(
        required=False, min_value=1, max_value=INT4_MAX, allow_null=True
    )


class NewEndpointSerializer(EndpointSerializer):
    """An endpoint as it is answered when it is made."""

    secret = serializers.CharField(
        read_only=True, help_text="What its messages are signed with; shown this once."
    )

    class Meta(EndpointSerializer.Meta):
        fields = [*EndpointSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class RotationSerializer(StrictSerializer):
    """How long the secret before goes on signing beside the new one."""

    keep_hours = serializers.IntegerField(
        required=False, default=KEPT_HOURS, min_value=0, max_value=KEPT_HOURS_MAX
    )


class RecoverySerializer(StrictSerializer):
    """From when on."""

    since = serializers.DateTimeField(required=False, default=None, allow_null=True)


class EndpointList(ListCreateAPIView[Endpoint]):
    """The tenant's endpoints, newest first."""

    queryset = Endpoint.objects.none()
    serializer_class = EndpointSerializer
    scopes = {"GET": "manage", "POST": "manage"}
    answers_with_secret = True

    def get_queryset(self) -> QuerySet[Endpoint]:
        return endpoints_of(self.request)

    @extend_schema(request=ChangedEndpointSerializer, responses={201: NewEndpointSerializer})
    @idempotent
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Register an endpoint. Its secret is in this answer and in no other."""
        endpoint, secret = create_endpoint(
            key_of(request).tenant, **validated(ChangedEndpointSerializer, request.data)
        )
        body = {**EndpointSerializer(endpoint).data, "secret": secret}
        headers = {"Location": reverse("webhook-endpoint", args=[endpoint.pk])}
        return Response(body, status=status.HTTP_201_CREATED, headers=headers)


class EndpointDetail(RetrieveDestroyAPIView[Endpoint]):
    """One endpoint."""

    queryset = Endpoint.objects.none()
    serializer_class = EndpointSerializer
    scopes = {"GET": "manage", "PATCH": "manage", "DELETE": "manage"}
    lookup_url_kwarg = "endpoint_id"

    def get_queryset(self) -> QuerySet[Endpoint]:
        return endpoints_of(self.request)

    @extend_schema(request=ChangedEndpointSerializer(partial=True))
    def patch(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change some of it; what is on its way goes to the URL that it has then."""
        fields = ChangedEndpointSerializer(data=request.data, partial=True)
        fields.is_valid(raise_exception=True)
        return Response(EndpointSerializer(change_endpoint(self.get_object(), **fields.validated_data)).data)

    def perform_destroy(self, instance: Endpoint) -> None:
        delete_endpoint(instance)


class EndpointVerb(APIView):
    """Something done to an endpoint."""

    scopes = {"POST": "manage"}

    def endpoint(self, request: Request, endpoint_id: str) -> Endpoint:
        return get_object_or_404(endpoints_of(request), pk=endpoint_id)


class PauseEndpoint(EndpointVerb):
    @extend_schema(request=None, responses=EndpointSerializer)
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Hold what is meant for the endpoint until it is resumed."""
        by = actor_of(request.headers, key_of(request))
        return Response(EndpointSerializer(pause_endpoint(self.endpoint(request, endpoint_id), by=by)).data)


class ResumeEndpoint(EndpointVerb):
    @extend_schema(request=None, responses=EndpointSerializer)
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Send again to an endpoint that was paused or disabled. What a pause held is sent at once."""
        return Response(EndpointSerializer(resume_endpoint(self.endpoint(request, endpoint_id))).data)


class RotateSecret(EndpointVerb):
    answers_with_secret = True

    @extend_schema(
        request=RotationSerializer,
        responses=inline_serializer("RotatedSecret", {"secret": serializers.CharField()}),
    )
    @idempotent
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Give the endpoint a new secret, shown this once; the one before signs too for `keep_hours`."""
        options = validated(RotationSerializer, request.data)
        return Response({"secret": rotate_secret(self.endpoint(request, endpoint_id), **options)})


class RevokeSecrets(EndpointVerb):
    @extend_schema(
        request=None, responses=inline_serializer("RevokedSecrets", {"revoked": serializers.IntegerField()})
    )
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Take away at once every earlier secret that still signs."""
        return Response({"revoked": revoke_earlier_secrets(self.endpoint(request, endpoint_id))})


class TestEndpoint(EndpointVerb):
    @extend_schema(request=None, responses={201: DeliverySerializer})
    @idempotent
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Send an event of type `webhook.test` to this endpoint, once, whatever its state."""
        delivery = send_test(self.endpoint(request, endpoint_id))
        headers = {"Location": reverse("webhook-delivery", args=[delivery.pk])}
        return Response(DeliverySerializer(delivery).data, status=status.HTTP_201_CREATED, headers=headers)


class RecoverDeliveries(EndpointVerb):
    @extend_schema(
        request=RecoverySerializer,
        responses=inline_serializer("RecoveredDeliveries", {"recovered": serializers.IntegerField()}),
    )
    def post(self, request: Request, endpoint_id: str) -> Response:
        """Send again what is held for the endpoint and what has failed, the schedule begun anew."""
        options = validated(RecoverySerializer, request.data)
        return Response({"recovered": recover_deliveries(self.endpoint(request, endpoint_id), **options)})


class EventTypes(APIView):
    """The catalogue."""

    scopes = {"GET": "read"}

    @extend_schema(
        responses=inline_serializer(
            "EventTypes",
            {
                "results": serializers.ListField(
                    child=inline_serializer(
                        "EventType",
                        {
                            "type": serializers.CharField(),
                            "description": serializers.CharField(),
                            "schema": serializers.JSONField(),
                        },
                    )
                )
            },
        )
    )
    def get(self, request: Request) -> Response:
        """Every type of event with the JSON schema of its body."""
        return Response(
            {
                "results": [
                    {"type": event.name, "description": event.tells, "schema": event.schema}
                    for event in CATALOGUE.values()
                ]
            }
        )


def endpoints_of(request: Request) -> QuerySet[Endpoint]:
    """The endpoints that the caller's tenant has."""
    return Endpoint.objects.kept().of_tenant(key_of(request).tenant)
