"""Attestations, as S1's clients read them."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from attestations.models import Attestation
from jobs.api.jobs import key_of
from jobs.models import Workflow


class AttestationSerializer(serializers.Serializer[Any]):
    """One attempt or one workflow run, and the SHA-256 of its canonical JSON."""

    attestation_key = serializers.CharField()
    attestation_type = serializers.ChoiceField(choices=Attestation.Type.choices)
    entity_type = serializers.ChoiceField(choices=Attestation.EntityType.choices)
    redis_step_id = serializers.CharField(allow_null=True)
    redis_workflow_id = serializers.CharField(allow_null=True)
    worker_id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=Attestation.Status.choices)
    retry_attempt = serializers.IntegerField()
    attestation_data = serializers.JSONField()
    digest = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()

    def to_representation(self, instance: Attestation) -> dict[str, Any]:
        dates = {name: self.fields[name].to_representation(getattr(instance, name)) for name in DATES}
        return {**instance.as_document(), "digest": instance.digest, **dates}


DATES = ("created_at", "expires_at")


class AllAttestationsSerializer(serializers.Serializer[Any]):
    workflow_id = serializers.CharField()
    attestations = AttestationSerializer(many=True)


class AllAttestations(APIView):
    """Everything a workflow and its jobs have left."""

    scopes = {"GET": "read"}

    @extend_schema(responses=AllAttestationsSerializer)
    def get(self, request: Request, workflow_id: str) -> Response:
        """The attestations of a workflow and of each attempt of its jobs, oldest first."""
        workflow = get_object_or_404(
            Workflow.objects.of_tenant(key_of(request).tenant), workflow_id=workflow_id
        )
        found = Attestation.objects.of_workflow(workflow)
        body = {"workflow_id": workflow_id, "attestations": AttestationSerializer(found, many=True).data}
        return Response(body)
