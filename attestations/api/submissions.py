"""Submissions: send a picture or its hash, list, look at, approve, reject, publish."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from attestations.api.uploads import PictureFormParser, ReceivedPicture
from attestations.chain.explorers import explorer_url
from attestations.models import Submission
from attestations.services.pictures import Picture
from attestations.services.submissions import (
    NewSubmission,
    approve_submission,
    publish_submission,
    reject_submission,
    submit,
)
from jobs.api.authentication import actor_of
from jobs.api.fields import StrictSerializer, shown, validated
from jobs.api.idempotency import idempotent
from jobs.api.jobs import key_of
from jobs.api.pagination import asked_filters
from jobs.api.parsers import StrictJSONParser
from jobs.api.workflows import ReasonSerializer
from jobs.content_types import PREFIX_BYTES, sniff
from jobs.errors import InvalidInput
from jobs.models import ApiKey, Tenant

MULTIPART = PictureFormParser.media_type


class Sha256Field(serializers.RegexField):
    """SHA-256 in one spelling: two of a hash would pass for two pictures."""

    default_error_messages = {"invalid": "A SHA-256 is 64 hex digits, in lower case."}

    def __init__(self, **options: Any) -> None:
        super().__init__(r"^[0-9a-f]{64}\Z", **options)


class NewSubmissionSerializer(StrictSerializer):
    """A picture to be submitted, by its hash alone."""

    sha256_hash = Sha256Field(help_text="Of the picture's bytes: 64 hex digits, in lower case.")
    auto_approve = serializers.BooleanField(
        required=False, default=False, help_text="Review it at once, which asks for the scope `manage` too."
    )
    proof_system = serializers.ChoiceField(
        choices=Submission.ProofSystem.choices, required=False, default=Submission.ProofSystem.GROTH16
    )
    user_id = serializers.CharField(required=False, default="", max_length=200, allow_blank=True)


class NewPictureSerializer(NewSubmissionSerializer):
    """A picture to be submitted. A hash that is given besides must be the picture's."""

    image = serializers.FileField(
        required=False,
        help_text="PNG, JPEG, GIF, WebP or AVIF, as its first bytes tell; its name is not kept.",
    )
    sha256_hash = Sha256Field(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "image" not in attrs and "sha256_hash" not in attrs:
            message = "Send the picture as a file `image`, or its sha256_hash."
            raise serializers.ValidationError({"image": [serializers.ErrorDetail(message, code="required")]})
        return attrs


class StageSerializer(serializers.Serializer[Any]):
    """How far one of the two jobs of a submission is."""

    retry_count = serializers.IntegerField(help_text="Attempts after the first.")
    processing_started_at = serializers.DateTimeField(allow_null=True, help_text="Of the last attempt.")
    stages = serializers.DictField(child=serializers.FloatField(), help_text="Seconds each stage took.")


class SubmissionSerializer(serializers.Serializer[Any]):
    """A submission with everything that is known of it but its proof; what is not known yet is null."""

    id = serializers.CharField()
    sha256_hash = serializers.CharField()
    status = serializers.ChoiceField(choices=Submission.Status.choices)
    proof_system = serializers.ChoiceField(choices=Submission.ProofSystem.choices)
    image_url = serializers.SerializerMethodField()
    image_content_type = serializers.CharField(allow_null=True)
    image_bytes = serializers.IntegerField(allow_null=True)
    workflow_id = serializers.SerializerMethodField(help_text="The workflow's own `workflow_id`, if any.")
    user_id = serializers.CharField(allow_null=True)
    actor_id = serializers.CharField(allow_null=True)
    decision = serializers.ChoiceField(choices=Submission.Decision.choices, allow_null=True)
    decided_by = serializers.CharField(allow_null=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    decision_reason = serializers.CharField(allow_null=True)
    commitment = serializers.CharField(allow_null=True)
    submitter = serializers.CharField(allow_null=True)
    proof_digest = serializers.CharField(allow_null=True)
    chain_id = serializers.IntegerField(allow_null=True)
    contract_address = serializers.CharField(allow_null=True)
    transaction_id = serializers.CharField(allow_null=True)
    explorer_url = serializers.SerializerMethodField()
    block_number = serializers.IntegerField(allow_null=True)
    is_verified_on_chain = serializers.BooleanField(allow_null=True)
    verified_at = serializers.DateTimeField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True)
    failure_reason = serializers.CharField(allow_null=True)
    skipped_reason = serializers.CharField(allow_null=True)
    generation = serializers.SerializerMethodField()
    publishing = serializers.SerializerMethodField()
    trace_id = serializers.CharField()
    request_id = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()

    def to_representation(self, instance: Submission) -> dict[str, Any]:
        known = super().to_representation(instance)
        return {name: None if value == "" else value for name, value in known.items()}

    def get_image_url(self, submission: Submission) -> str | None:
        if not submission.image:
            return None
        address: str = settings.PUBLIC_URL + reverse("artifact", args=[submission.image])
        return address

    def get_workflow_id(self, submission: Submission) -> str | None:
        return submission.workflow.workflow_id if submission.workflow else None

    def get_explorer_url(self, submission: Submission) -> str | None:
        return explorer_url(submission.chain_id, submission.transaction_id)

    @extend_schema_field(StageSerializer)
    def get_generation(self, submission: Submission) -> dict[str, Any]:
        return _stage_of(submission, "generation")

    @extend_schema_field(StageSerializer)
    def get_publishing(self, submission: Submission) -> dict[str, Any]:
        return _stage_of(submission, "publishing")


def _stage_of(submission: Submission, job: str) -> dict[str, Any]:
    stage = {
        "retry_count": getattr(submission, f"{job}_retry_count"),
        "processing_started_at": getattr(submission, f"{job}_started_at"),
        "stages": getattr(submission, f"{job}_stages"),
    }
    return shown(StageSerializer, stage)


class SubmissionDetailSerializer(SubmissionSerializer):
    """A submission with its proof, which is there while it waits to be published."""

    proof_json = serializers.SerializerMethodField()

    @extend_schema_field({"type": "object", "nullable": True, "additionalProperties": {}})
    def get_proof_json(self, submission: Submission) -> Any:
        return json.loads(submission.proof_json) if submission.proof_json else None


class RejectSerializer(StrictSerializer):
    """Why a submission is rejected; its creator is told."""

    reason = serializers.CharField(max_length=1_000)


def submissions_of(tenant: Tenant | UUID) -> QuerySet[Submission]:
    """A tenant's submissions as the API shows them."""
    # Joined, for a workflow may have been forgotten, which only a join forgives.
    rows = Submission.objects.of_tenant(tenant).select_related("workflow")
    return rows.defer(*(f"workflow__{name}" for name in ("miniapp_req", "data", "outputs", "error")))


class SubmissionList(ListAPIView[Submission]):
    """Submit a picture, or list what the tenant has submitted, newest first."""

    queryset = Submission.objects.none()
    serializer_class = SubmissionSerializer
    parser_classes = (StrictJSONParser, PictureFormParser)
    scopes = {"GET": "read", "POST": "submit"}
    filters = ("sha256_hash", "status", "proof_system", "user_id", "decided_by", "trace_id")

    def get_queryset(self) -> QuerySet[Submission]:
        asked = asked_filters(Submission, self.request.query_params, self.filters)
        return submissions_of(key_of(self.request).tenant).filter(**asked).defer("proof_json")

    @extend_schema(parameters=[OpenApiParameter(name, str) for name in filters])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request={MULTIPART: NewPictureSerializer, "application/json": NewSubmissionSerializer},
        responses={200: SubmissionDetailSerializer, 201: SubmissionDetailSerializer},
    )
    def post(self, request: Request) -> Any:
        """Submit a picture, or its hash. It is durable when this answers 201.

        200 where the hash was submitted before and has not been rejected: the answer is that submission, which a
        picture that was missing is added to. An Idempotency-Key counts with JSON only; a picture's hash is its own.
        """
        # A key's fingerprint takes the whole body into memory, and its transaction would last as long as the
        # picture is being stored.
        is_form = (request.content_type or "").lower().startswith(MULTIPART)
        return self.take_picture(request) if is_form else self.take_hash(request)

    @idempotent
    def take_hash(self, request: Request) -> Response:
        return self.take(request, validated(NewSubmissionSerializer, request.data), None)

    def take_picture(self, request: Request) -> Response:
        asked = validated(NewPictureSerializer, _each_once(request.data))
        received: ReceivedPicture | None = asked.pop("image", None)
        picture = _picture(received) if received else None
        if received and asked.setdefault("sha256_hash", received.sha256_hash) != received.sha256_hash:
            detail = f"The picture's SHA-256 is {received.sha256_hash}."
            raise InvalidInput.at("/sha256_hash", "hash_mismatch", detail)
        return self.take(request, asked, picture)

    def take(self, request: Request, asked: dict[str, Any], picture: Picture | None) -> Response:
        key = key_of(request)
        is_approved = asked.pop("auto_approve")
        if is_approved:
            _want_manage(key)
        new = NewSubmission(**asked, picture=picture, is_approved=is_approved)
        submission, is_new = submit(key.tenant, new, actor_id=actor_of(request.headers, key))
        return Response(
            _as_it_is_now(submission),
            status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK,
            headers={"Location": reverse("submission", args=[submission.pk])},
        )


class SubmissionDetail(RetrieveAPIView[Submission]):
    """One submission with its proof."""

    queryset = Submission.objects.none()
    serializer_class = SubmissionDetailSerializer
    scopes = {"GET": "read"}
    lookup_url_kwarg = "submission_id"

    def get_queryset(self) -> QuerySet[Submission]:
        return submissions_of(key_of(self.request).tenant)


class SubmissionVerb(APIView):
    """Something done to one submission of the tenant."""

    scopes = {"POST": "manage"}

    def act(
        self,
        request: Request,
        submission_id: str,
        serve: Callable[..., Submission],
        fields: type[StrictSerializer],
    ) -> Response:
        """Have a service do it, for the one who asks and for the reason that is given."""
        asked = validated(fields, request.data)
        key = key_of(request)
        submission = get_object_or_404(Submission.objects.of_tenant(key.tenant), pk=submission_id)
        return Response(_as_it_is_now(serve(submission, by=actor_of(request.headers, key), **asked)))


class ApproveSubmission(SubmissionVerb):
    @extend_schema(request=ReasonSerializer, responses=SubmissionDetailSerializer)
    @idempotent
    def post(self, request: Request, submission_id: str) -> Response:
        """Have a submission that awaits its review proved and published."""
        return self.act(request, submission_id, approve_submission, ReasonSerializer)


class RejectSubmission(SubmissionVerb):
    @extend_schema(request=RejectSerializer, responses=SubmissionDetailSerializer)
    @idempotent
    def post(self, request: Request, submission_id: str) -> Response:
        """Reject a submission: at once where no job is at it, else when the running one has ended."""
        return self.act(request, submission_id, reject_submission, RejectSerializer)


class PublishSubmission(SubmissionVerb):
    @extend_schema(request=ReasonSerializer, responses=SubmissionDetailSerializer)
    @idempotent
    def post(self, request: Request, submission_id: str) -> Response:
        """Publish what was skipped, now that there is a chain."""
        return self.act(request, submission_id, publish_submission, ReasonSerializer)


def _as_it_is_now(submission: Submission) -> dict[str, Any]:
    row = submissions_of(submission.tenant_id).get(pk=submission.pk)
    return shown(SubmissionDetailSerializer, row)


def _each_once(form: Any) -> dict[str, Any]:
    """A form's fields by name. Raises InvalidInput for one that comes twice: which counts is anybody's guess."""
    repeated = [name for name, values in form.lists() if len(values) > 1]
    if repeated:
        raise InvalidInput.at(
            f"/{repeated[0]}", "repeated", f"The field {repeated[0]!r} comes more than once."
        )
    return {name: form[name] for name in form}


def _picture(received: ReceivedPicture) -> Picture:
    """What was received as the picture its first bytes tell it to be; raises InvalidInput where they tell of none."""
    received.seek(0)
    content_type, extension = sniff(received.read(PREFIX_BYTES)) or ("", "")
    if not content_type.startswith("image/"):
        detail = "Its first bytes are those of no picture: PNG, JPEG, GIF, WebP or AVIF."
        raise InvalidInput.at("/image", "not_a_picture", detail)
    return Picture(file=received, content_type=content_type, extension=extension, size=received.size or 0)


def _want_manage(key: ApiKey) -> None:
    if not key.allows("manage"):
        detail = "auto_approve reviews the submission, which needs a key of scope 'manage' too."
        raise PermissionDenied(detail, code="scope_missing")
