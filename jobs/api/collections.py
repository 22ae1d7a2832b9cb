"""Collections and the generations made from them."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListCreateAPIView, RetrieveUpdateDestroyAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from jobs.api.authentication import actor_of
from jobs.api.fields import (
    BoundedListField,
    NameField,
    ObjectField,
    StrictSerializer,
    WorkflowIdField,
    validated,
)
from jobs.api.idempotency import idempotent
from jobs.api.jobs import key_of
from jobs.api.workflows import WorkflowDetailSerializer
from jobs.errors import CollectionExists
from jobs.models import Collection
from jobs.services.workflows import GenerationRequest, start_generation
from jobs.workflows.templates import unknown_names

MAX_STEPS = 100


class StepSerializer(StrictSerializer):
    """One step: what a worker must offer, and its payload with `${…}` placeholders."""

    name = serializers.RegexField(r"^[A-Za-z0-9_-]{1,100}\Z")
    service_required = NameField()
    payload = ObjectField(required=False, default=dict)


class CollectionSerializer(serializers.ModelSerializer[Collection]):
    """A recipe of steps that run one after the other."""

    name = serializers.CharField(max_length=200)
    steps = BoundedListField(child=StepSerializer(), min_length=1, max_length=MAX_STEPS)

    class Meta:
        model = Collection
        fields = ["id", "name", "steps", "created_at", "updated_at"]
        read_only_fields = ["id", "created_at", "updated_at"]

    def validate_steps(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Names differ, and a step names only variables and the results of steps before it."""
        errors: list[dict[str, Any]] = []
        names: list[str] = []
        for step in steps:
            unknown = unknown_names(step["payload"], None, names)
            problem: dict[str, Any] = {}
            if step["name"] in names:
                problem["name"] = [serializers.ErrorDetail("Another step has this name.", code="name_taken")]
            if unknown:
                text = ", ".join(f"${{{name}}} at {pointer or '/'}" for pointer, name in unknown)
                problem["payload"] = [
                    serializers.ErrorDetail(f"Nothing can fill in {text}.", code="unknown_name")
                ]
            errors.append(problem)
            names.append(step["name"])
        if any(errors):
            raise serializers.ValidationError({str(i): error for i, error in enumerate(errors) if error})
        return steps


class GenerationSerializer(StrictSerializer):
    """What a user asks a collection for."""

    variables = ObjectField()
    user_id = serializers.CharField(required=False, default="", max_length=200, allow_blank=True)
    session_id = serializers.CharField(required=False, default="", max_length=200, allow_blank=True)
    workflow_id = WorkflowIdField(
        required=False,
        default="",
        help_text="Not ending in `:attempt-1` or the like, as attestation keys do.",
    )
    workflow_priority = serializers.IntegerField(required=False, default=50, min_value=0, max_value=100)


class CollectionList(ListCreateAPIView[Collection]):
    """The tenant's collections, newest first."""

    queryset = Collection.objects.none()
    serializer_class = CollectionSerializer
    scopes = {"GET": "read", "POST": "manage"}

    def get_queryset(self) -> QuerySet[Collection]:
        return Collection.objects.of_tenant(key_of(self.request).tenant)

    @idempotent
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().post(request, *args, **kwargs)

    def perform_create(self, serializer: BaseSerializer[Collection]) -> None:
        save_collection(serializer, tenant=key_of(self.request).tenant)

    def get_success_headers(self, data: Any) -> dict[str, str]:
        return {"Location": reverse("collection", args=[data["id"]])}


class CollectionDetail(RetrieveUpdateDestroyAPIView[Collection]):
    """One collection. What was made with it stays when it is changed or deleted."""

    queryset = Collection.objects.none()
    serializer_class = CollectionSerializer
    scopes = {"GET": "read", "PUT": "manage", "PATCH": "manage", "DELETE": "manage"}
    lookup_url_kwarg = "collection_id"

    def get_queryset(self) -> QuerySet[Collection]:
        return Collection.objects.of_tenant(key_of(self.request).tenant)

    def perform_update(self, serializer: BaseSerializer[Collection]) -> None:
        save_collection(serializer)


def save_collection(serializer: BaseSerializer[Collection], **fields: Any) -> None:
    """Save, and say so when the tenant has one of this name; raises CollectionExists."""
    try:
        with transaction.atomic():
            serializer.save(**fields)
    except IntegrityError as error:
        raise CollectionExists("There is a collection of this name already.") from error


class GenerationList(APIView):
    """Generations of a collection."""

    scopes = {"POST": "submit"}

    @extend_schema(request=GenerationSerializer, responses={201: WorkflowDetailSerializer})
    @idempotent
    def post(self, request: Request, collection_id: str) -> Response:
        """Run the collection's steps over a user's variables. Durable when this answers 201."""
        key = key_of(request)
        collection = get_object_or_404(
            Collection.objects.of_tenant(key.tenant).select_related("tenant"), pk=collection_id
        )
        fields = validated(GenerationSerializer, request.data)
        fields["user_id"] = fields["user_id"] or request.headers.get("X-Actor-Id", "").strip()
        workflow, jobs = start_generation(
            collection, GenerationRequest(**fields), actor_id=actor_of(request.headers, key)
        )
        for job in jobs:
            job.workflow = workflow
        body = WorkflowDetailSerializer(workflow, context={"jobs": jobs}).data
        headers = {"Location": reverse("workflow", args=[workflow.workflow_id])}
        return Response(body, status=status.HTTP_201_CREATED, headers=headers)
