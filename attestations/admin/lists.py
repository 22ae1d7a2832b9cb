"""What the lists of this floor are filtered by, and which of their indexes lead there."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest

from attestations.models import Submission
from jobs.admin.filters import CreatedFilter, TenantFilter, WorkflowFilter
from jobs.admin.lists.criteria import (
    ChoiceCriterion,
    Choices,
    FieldCriterion,
    Reach,
    TraceCriterion,
    by_choice,
    by_key,
    by_text,
)

REVIEWED = (
    "awaiting_review",
    "proof_generation",
    "proof_publishing",
)  # those that an index lists by their status

ATTESTATION_FILTERS = [
    by_choice("status", title="outcome"),
    CreatedFilter,
    by_choice("attestation_type", title="type"),
    TenantFilter,
    by_choice("entity_type", title="of"),
    by_key("job", field="job"),
    WorkflowFilter,
    by_text("worker", field="worker_id", hint="name of a worker"),
]


class HashFilter(FieldCriterion):
    """In either case."""

    title = "SHA-256"
    parameter_name = "hash"
    hint = "64 hex digits"

    def any_of(self, values: list[str]) -> Q:
        return Q(sha256_hash__in=[value.lower().removeprefix("0x") for value in values])

    def reach(self) -> Reach | None:
        return Reach.FEW


SUBMISSION_FILTERS = [
    by_choice("status", ordered=REVIEWED),
    CreatedFilter,
    by_choice("proof_system"),
    by_choice("decision"),
    TenantFilter,
    by_text("user", field="user_id", hint="user id"),
    by_text("decided_by", hint="an account"),
    HashFilter,
    TraceCriterion,
]
TRANSACTION_FILTERS = [
    by_choice("status"),
    CreatedFilter,
    by_text("sender", hint="0x…"),
    HashFilter,
]


class ProofTypeFilter(ChoiceCriterion):
    title = "proof type"
    parameter_name = "proof_type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return Submission.ProofSystem.choices

    def any_of(self, values: list[str]) -> Q:
        return Q(data__proofType__in=values)


SESSION_FILTERS = [
    by_choice("status"),
    CreatedFilter,
    ProofTypeFilter,
    TenantFilter,
    by_text("session", field="session_id", title="session", hint="its name"),
    by_text("actor", field="actor_id", hint="who ran it"),
]
