"""Messages, their deliveries and every attempt at them: list, look at, send once more."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.api.idempotency import idempotent
from jobs.api.jobs import key_of
from jobs.api.pagination import asked_filters
from jobs.errors import InvalidInput
from jobs.models import Workflow
from webhooks.models import Attempt, Delivery, Message
from webhooks.services.deliveries import redeliver
from webhooks.services.explanations import explain, is_sending_paused


class MessageSerializer(serializers.ModelSerializer[Message]):
    """A message, whoever it is sent to."""

    tenant_id = serializers.CharField()
    webhook_id = serializers.CharField(help_text="The `webhook-id` it is sent with.")
    body = serializers.JSONField(source="content", help_text="What is signed and sent, read.")
    job_id = serializers.CharField(allow_null=True)
    workflow_id = serializers.CharField(
        source="workflow.workflow_id",
        default=None,
        allow_null=True,
        help_text="The workflow's own `workflow_id`, if any.",
    )

    class Meta:
        model = Message
        fields = [
            "id",
            "tenant_id",
            "webhook_id",
            "type",
            "body",
            "job_id",
            "workflow_id",
            "workflow_run",
            "trace_id",
            "request_id",
            "created_at",
        ]
        read_only_fields = fields


class MessageLineSerializer(MessageSerializer):
    """A message in a list: without its body, of which each may have 256 KiB."""

    class Meta(MessageSerializer.Meta):
        fields = [name for name in MessageSerializer.Meta.fields if name != "body"]
        read_only_fields = fields


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One call of an endpoint."""

    class Meta:
        model = Attempt
        fields = [
            "number",
            "outcome",
            "reason",
            "detail",
            "url",
            "request_headers",
            "status_code",
            "response_headers",
            "response_body",
            "is_response_cut",
            "timings",
            "started_at",
            "duration_ms",
        ]
        read_only_fields = fields


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """A message on its way to an endpoint, and why it is not there yet."""

    tenant_id = serializers.CharField()
    endpoint_id = serializers.CharField()
    message_id = serializers.CharField()
    type = serializers.CharField(source="message.type")
    explanation = serializers.SerializerMethodField(help_text="Why it has not been delivered, in a sentence.")

    class Meta:
        model = Delivery
        fields = [
            "id",
            "tenant_id",
            "endpoint_id",
            "message_id",
            "type",
            "status",
            "explanation",
            "reason",
            "detail",
            "status_code",
            "is_manual",
            "attempt_count",
            "next_attempt_at",
            "created_at",
            "delivered_at",
            "failed_at",
            "held_at",
        ]
        read_only_fields = fields

    def get_explanation(self, delivery: Delivery) -> str:
        if "is_paused" not in self.context:
            self.context["is_paused"] = is_sending_paused()
        return explain(delivery, is_paused=self.context["is_paused"])


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with its attempts, the first one first."""

    attempts = serializers.SerializerMethodField()

    class Meta(DeliverySerializer.Meta):
        fields = [*DeliverySerializer.Meta.fields, "attempts"]
        read_only_fields = fields

    @extend_schema_field(AttemptSerializer(many=True))
    def get_attempts(self, delivery: Delivery) -> list[dict[str, Any]]:
        return AttemptSerializer(delivery.attempts.order_by("id"), many=True).data  # type: ignore[return-value]


class MessageList(ListAPIView[Message]):
    """The tenant's messages, newest first."""

    queryset = Message.objects.none()
    serializer_class = MessageLineSerializer
    scopes = {"GET": "manage"}
    filters = ("type", "job_id", "trace_id")

    def get_queryset(self) -> QuerySet[Message]:
        asked = asked_filters(Message, self.request.query_params, self.filters)
        mine = messages_of(self.request).filter(**asked).defer("body")
        return mine.filter(**_of_asked_workflow(self.request, "workflow"))

    @extend_schema(parameters=[OpenApiParameter(name, str) for name in (*filters, "workflow_id")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class MessageDetail(RetrieveAPIView[Message]):
    """One message."""

    queryset = Message.objects.none()
    serializer_class = MessageSerializer
    scopes = {"GET": "manage"}
    lookup_url_kwarg = "message_id"

    def get_queryset(self) -> QuerySet[Message]:
        return messages_of(self.request)


class DeliveryList(ListAPIView[Delivery]):
    """The tenant's deliveries, newest first."""

    queryset = Delivery.objects.none()
    serializer_class = DeliverySerializer
    scopes = {"GET": "manage"}
    filters = ("status", "endpoint_id", "message_id", "reason")

    def get_queryset(self) -> QuerySet[Delivery]:
        asked = asked_filters(Delivery, self.request.query_params, self.filters)
        mine = deliveries_of(self.request).filter(**asked)
        return mine.filter(**_of_asked_workflow(self.request, "message__workflow"))

    @extend_schema(parameters=[OpenApiParameter(name, str) for name in (*filters, "workflow_id")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)


class DeliveryDetail(RetrieveAPIView[Delivery]):
    """One delivery with its attempts."""

    queryset = Delivery.objects.none()
    serializer_class = DeliveryDetailSerializer
    scopes = {"GET": "manage"}
    lookup_url_kwarg = "delivery_id"

    def get_queryset(self) -> QuerySet[Delivery]:
        return deliveries_of(self.request)


class Redeliver(APIView):
    """A delivery, once more."""

    scopes = {"POST": "manage"}

    @extend_schema(request=None, responses={201: DeliverySerializer})
    @idempotent
    def post(self, request: Request, delivery_id: str) -> Response:
        """Send the message to the endpoint again, at once and once: a new delivery, with the same `webhook-id`."""
        again = redeliver(get_object_or_404(deliveries_of(request), pk=delivery_id))
        headers = {"Location": reverse("webhook-delivery", args=[again.pk])}
        return Response(DeliverySerializer(again).data, status=status.HTTP_201_CREATED, headers=headers)


def _of_asked_workflow(request: Request, field: str) -> dict[str, Any]:
    """The filter for `?workflow_id=`, the client's own name of a workflow: what tells of it and of its jobs."""
    name = request.query_params.get("workflow_id")
    if name is None:
        return {}
    if "\0" in name:
        raise InvalidInput.at("/workflow_id", "invalid", "Text may hold no NUL.")
    named = Workflow.objects.of_tenant(key_of(request).tenant).filter(workflow_id=name)
    # Looked up first: so the list goes along the index of that workflow.
    return {f"{field}__in": list(named.values_list("pk", flat=True))}


def messages_of(request: Request) -> QuerySet[Message]:
    """The messages of the caller's tenant, with the names of their workflows."""
    return Message.objects.of_tenant(key_of(request).tenant).select_related("workflow")


def deliveries_of(request: Request) -> QuerySet[Delivery]:
    """The deliveries of the caller's tenant, with what they are explained by."""
    mine = Delivery.objects.of_tenant(key_of(request).tenant)
    return mine.select_related("message", "endpoint").defer("message__body", "endpoint__sealed_headers")
