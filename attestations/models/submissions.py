"""Submissions: pictures whose digests are proved to be their creator's, and published on a chain."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models.functions import Now

from jobs.ids import uuid7
from jobs.models import Tenant, Workflow
from jobs.models.tenants import TenantQuerySet


class SubmissionQuerySet(TenantQuerySet["Submission"]):
    def live(self) -> Self:
        """All but the rejected: of a tenant's hash there is one at most."""
        return self.exclude(status=Submission.Status.REJECTED)


class Submission(models.Model):
    """A digest that a creator submitted: reviewed, proved, published, each at its own time.

    Two jobs do the work, and each keeps here how often it was tried again, when its last attempt began, and how
    many seconds each of its stages took.
    """

    class Status(models.TextChoices):
        AWAITING_REVIEW = "awaiting_review"  # nobody has looked at it
        PROOF_GENERATION = "proof_generation"  # approved; its proof is being made
        PROOF_PUBLISHING = "proof_publishing"  # proved; the proof is stored until the chain has it
        COMPLETE = "complete"  # the chain has it
        REJECTED = "rejected"  # by a reviewer, or since a job of it has failed for good

    class ProofSystem(models.TextChoices):
        GROTH16 = "groth16", "Groth16"
        PLONK = "plonk", "PlonK"
        STARK = "stark", "STARK"

    class Decision(models.TextChoices):
        APPROVED = "approved"
        REJECTED = "rejected"

    TRANSITIONS = {
        Status.AWAITING_REVIEW: {Status.PROOF_GENERATION, Status.REJECTED},
        Status.PROOF_GENERATION: {Status.PROOF_PUBLISHING, Status.REJECTED},
        # Proved again where the chain has changed hands since.
        Status.PROOF_PUBLISHING: {Status.COMPLETE, Status.REJECTED, Status.PROOF_GENERATION},
        Status.COMPLETE: set[Status](),
        Status.REJECTED: set[Status](),
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="submissions", db_index=False)
    # The run at hand, or the last one. It may be forgotten in time, what it has proved stays.
    workflow = models.ForeignKey(
        Workflow,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        related_name="submissions",
    )
    runs = models.PositiveIntegerField(default=0, help_text="Workflows started for it.")
    sha256_hash = models.CharField(max_length=64, help_text="Of the picture, 64 hex digits.")
    status = models.CharField(max_length=20, choices=Status, default=Status.AWAITING_REVIEW)
    proof_system = models.CharField(max_length=10, choices=ProofSystem, default=ProofSystem.GROTH16)

    image = models.CharField(max_length=300, blank=True, help_text="Its path in the artifacts' storage.")
    image_content_type = models.CharField(max_length=100, blank=True)
    image_bytes = models.PositiveBigIntegerField(null=True, blank=True)

    decision = models.CharField(max_length=10, choices=Decision, blank=True, help_text="The last one.")
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=200, blank=True)
    decision_reason = models.CharField(max_length=1_000, blank=True)

    # What is proved: that the creator's key is behind the commitment and signs the digest for the submitter.
    commitment = models.CharField(
        max_length=66, blank=True, help_text="The creator's key in MiMC, 0x and hex."
    )
    submitter = models.CharField(
        max_length=42, blank=True, help_text="The address that may publish the proof."
    )
    proof_json = models.TextField(blank=True, help_text="The proof while it waits to be published.")
    proof_digest = models.CharField(max_length=64, blank=True, help_text="SHA-256 of the proof's JSON, hex.")

    chain_id = models.PositiveBigIntegerField(null=True, blank=True)
    contract_address = models.CharField(max_length=42, blank=True)
    transaction_id = models.CharField(max_length=66, blank=True, help_text="0x and 64 hex digits.")
    block_number = models.PositiveBigIntegerField(null=True, blank=True)
    is_verified_on_chain = models.BooleanField(
        null=True, blank=True, help_text="Whether the contract has verified the proof, or only recorded it."
    )
    verified_at = models.DateTimeField(null=True, blank=True, help_text="When the chain had confirmed it.")
    skipped_reason = models.CharField(max_length=300, blank=True, help_text="Why it is not being published.")
    failed_at = models.DateTimeField(null=True, blank=True)
    failure_reason = models.CharField(max_length=2_000, blank=True)

    generation_retry_count = models.PositiveIntegerField(default=0)
    generation_started_at = models.DateTimeField(null=True, blank=True)
    generation_stages = models.JSONField(default=dict, blank=True, help_text="Seconds: setup, prove, verify.")
    publishing_retry_count = models.PositiveIntegerField(default=0)
    publishing_started_at = models.DateTimeField(null=True, blank=True)
    publishing_stages = models.JSONField(default=dict, blank=True, help_text="Seconds: load, send, confirm.")

    user_id = models.CharField(max_length=200, blank=True)
    actor_id = models.CharField(max_length=200, blank=True)
    trace_id = models.CharField(max_length=32)
    request_id = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = SubmissionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(name="submission_tenant_newest", fields=["tenant", "-id"]),
            models.Index(name="submission_of_hash", fields=["sha256_hash"]),
            models.Index(
                name="submission_unfinished",
                fields=["status", "id"],
                condition=models.Q(status__in=["awaiting_review", "proof_generation", "proof_publishing"]),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                name="submission_once_per_tenant",
                fields=["tenant", "sha256_hash"],
                condition=~models.Q(status="rejected"),
            ),
            models.CheckConstraint(
                name="submission_words_known",
                condition=models.Q(
                    status__in=[
                        "awaiting_review",
                        "proof_generation",
                        "proof_publishing",
                        "complete",
                        "rejected",
                    ],
                    proof_system__in=["groth16", "plonk", "stark"],
                    decision__in=["", "approved", "rejected"],
                ),
            ),
            models.CheckConstraint(
                name="submission_hash_is_sha256",
                condition=models.Q(sha256_hash__regex=r"^[0-9a-f]{64}$"),
            ),
            # The proof is there exactly while it waits to be published.
            models.CheckConstraint(
                name="submission_proof_in_its_time",
                condition=models.Q(status="proof_publishing") ^ models.Q(proof_json=""),
            ),
            models.CheckConstraint(
                name="submission_end_is_whole",
                condition=models.Q(
                    ~models.Q(transaction_id=""),
                    status="complete",
                    verified_at__isnull=False,
                    failed_at__isnull=True,
                )
                | models.Q(
                    ~models.Q(failure_reason=""),
                    status="rejected",
                    failed_at__isnull=False,
                    verified_at__isnull=True,
                )
                | models.Q(
                    status__in=["awaiting_review", "proof_generation", "proof_publishing"],
                    transaction_id="",
                    verified_at__isnull=True,
                    failed_at__isnull=True,
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sha256_hash[:12]}…"

    @property
    def is_final(self) -> bool:
        """Whether it is complete or rejected."""
        return not self.TRANSITIONS[Submission.Status(self.status)]

    @property
    def latest_workflow_id(self) -> str:
        """The name of the workflow of its last run, also where that is forgotten; empty before the first."""
        if not self.runs:
            return ""
        return f"submission-{self.pk}" + (f"-run-{self.runs}" if self.runs > 1 else "")


class CreatorKey(models.Model):
    """The key that a tenant's submissions are proved with: a number that leaves this platform in no form."""

    tenant = models.OneToOneField(Tenant, on_delete=models.PROTECT, primary_key=True, related_name="+")
    sealed_secret = models.TextField(help_text="Sealed with ENCRYPTION_KEYS.")
    commitment = models.CharField(
        max_length=66, help_text="Its MiMC hash, which proofs and chain know it by."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return self.commitment


class ChainTransaction(models.Model):
    """A signed transaction, stored before it is first sent, so that one sent before a crash is found again.

    A replacement with higher fees is a row of its own with the same nonce: the chain takes one of them at most. It is
    for a submission, for a proof session (its workflow), or for neither, where somebody runs the program by hand.
    """

    class Status(models.TextChoices):
        PENDING = "pending"  # signed; sent at least once, or about to be
        MINED = "mined"  # in a block, with success
        REVERTED = "reverted"  # in a block, refused by the contract
        DROPPED = "dropped"  # another with its nonce was mined, or nobody wants it any more

    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    submission = models.ForeignKey(
        Submission, on_delete=models.PROTECT, null=True, blank=True, related_name="transactions"
    )
    # No database constraint: a session is forgotten in time, what was paid for it is not.
    workflow = models.ForeignKey(
        Workflow,
        on_delete=models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="transactions",
    )
    sha256_hash = models.CharField(max_length=64, help_text="The digest that it has recorded, 64 hex digits.")
    chain_id = models.PositiveBigIntegerField()
    sender = models.CharField(max_length=42)
    nonce = models.PositiveBigIntegerField()
    contract_address = models.CharField(max_length=42)
    transaction_id = models.CharField(max_length=66, unique=True, help_text="Its hash: 0x and 64 hex digits.")
    raw = models.TextField(help_text="What is sent: signed, 0x and hex.")
    max_fee_per_gas = models.PositiveBigIntegerField(help_text="Wei.")
    max_priority_fee_per_gas = models.PositiveBigIntegerField(help_text="Wei.")
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    block_number = models.PositiveBigIntegerField(null=True, blank=True)
    gas_used = models.PositiveBigIntegerField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects: models.Manager[Any] = models.Manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                name="transaction_pending",
                fields=["chain_id", "sender", "nonce"],
                condition=models.Q(status="pending"),
            ),
            models.Index(name="transaction_of_digest", fields=["sha256_hash", "tenant"]),
            models.Index(
                name="transaction_of_workflow",
                fields=["workflow"],
                condition=models.Q(workflow__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="transaction_status_known",
                condition=models.Q(status__in=["pending", "mined", "reverted", "dropped"]),
            ),
            models.CheckConstraint(
                name="transaction_hash_is_sha256",
                condition=models.Q(sha256_hash__regex=r"^[0-9a-f]{64}$"),
            ),
            models.CheckConstraint(
                name="transaction_of_one_purpose",
                condition=models.Q(submission__isnull=False, workflow__isnull=True, tenant__isnull=False)
                | models.Q(submission__isnull=True, workflow__isnull=False, tenant__isnull=False)
                | models.Q(submission__isnull=True, workflow__isnull=True, tenant__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.transaction_id
