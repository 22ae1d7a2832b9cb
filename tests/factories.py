"""Makes rows for tests: each function gives a plain, valid one, and takes what the test is about."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import Permission, User
from django.utils import timezone

from attestations.models import Attestation, ChainTransaction, ProofSession, Submission
from attestations.sessions.starting import start_session
from jobs.ids import uuid7
from jobs.models import (
    ApiKey,
    AuditEntry,
    Cluster,
    Collection,
    ErrorGroup,
    Event,
    Job,
    ProblemAlert,
    Queue,
    StaffTenant,
    Tenant,
    Worker,
    Workflow,
)
from jobs.queue.claim import claim_in_house, claim_remote
from jobs.tenancy.services import create_api_key, create_tenant
from webhooks.models import Attempt, Delivery, Endpoint, Message, Receipt, Sender
from webhooks.services.secrets import rotate_secret

_count = itertools.count(1)

STEPS = [
    {"name": "paint", "service_required": "artgen", "payload": {"prompt": "${variables.prompt}"}},
    {"name": "frame", "service_required": "artgen", "payload": {"image": "${steps.paint.result.url}"}},
]
FINAL_TIMES = {"completed": "completed_at", "failed": "failed_at", "cancelled": "cancelled_at"}


def make_tenant(slug: str = "") -> Tenant:
    return create_tenant(slug or f"tenant-{next(_count)}")


def make_key(tenant: Tenant, *scopes: str, **fields: Any) -> tuple[ApiKey, str]:
    """A key of these scopes (all, when none is named) and its text."""
    key, text = create_api_key(
        tenant, name="test", scopes=scopes or ("submit", "work", "read", "manage"), **fields
    )
    return key, text.text


def make_collection(tenant: Tenant, **fields: Any) -> Collection:
    fields = {"name": f"collection {next(_count)}", "steps": STEPS, **fields}
    return Collection.objects.create(tenant=tenant, **fields)


def make_workflow(tenant: Tenant, **fields: Any) -> Workflow:
    fields = {
        "workflow_id": f"workflow-{next(_count)}",
        "total_steps": 1,
        "trace_id": "0" * 31 + "1",
        **_final(fields),
    }
    return Workflow.objects.create(tenant=tenant, **fields)


def make_job(tenant: Tenant | None = None, **fields: Any) -> Job:
    """A job in any state, with what that state asks for; in-house unless it has a service."""
    service = fields.get("service_required", "")
    fields = {
        "kind": "" if service else "system.ping",
        "queue": service or "default",
        "trace_id": "0" * 31 + "1",
        "run_at": timezone.now() - timedelta(seconds=1),
        **_final(fields),
    }
    if fields.get("status") == Job.Status.RUNNING:
        running = {
            "lease_token": uuid7(),
            "lease_expires_at": timezone.now() + timedelta(seconds=30),
            "started_at": timezone.now(),
            "attempt": 1,
            "worker": "somebody",
        }
        fields = {**running, **fields}
    return Job.objects.create(tenant=tenant, **fields)


def claim_one(job: Job) -> Any:
    """Claim the only due job of this job's queue or service; the row as the claim answers it."""
    if job.is_remote:
        assert job.tenant_id
        (row,) = claim_remote(job.tenant_id, [job.service_required], "worker-1", limit=1)
    else:
        (row,) = claim_in_house(job.queue, "worker-1")
    return row


def make_user(name: str = "", **fields: Any) -> User:
    return User.objects.create_user(name or f"user-{next(_count)}", password="correct horse", **fields)


def _final(fields: dict[str, Any]) -> dict[str, Any]:
    """Add the time that a final state must have."""
    name = FINAL_TIMES.get(fields.get("status", ""))
    return {name: timezone.now(), **fields} if name else fields


def make_operator(*permissions: str, name: str = "") -> User:
    """A staff account with these permissions, like `jobs.view_job`; none make it one that may do nothing."""
    user = make_user(name, is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def make_superuser(name: str = "") -> User:
    return make_user(name, is_staff=True, is_superuser=True)


def make_restricted(user: User, tenant: Tenant) -> User:
    """The account, restricted to one tenant."""
    StaffTenant.objects.create(user=user, tenant=tenant)
    return user


def make_audit_entry(tenant: Tenant | None = None, **fields: Any) -> AuditEntry:
    given = {"actor": "alice", "action": "retry", "model": "jobs.Job", "object_text": "a job", **fields}
    return AuditEntry.objects.create(tenant=tenant, **given)


def make_error_group(tenant: Tenant | None = None, **fields: Any) -> ErrorGroup:
    """A group of errors that was seen a moment ago, of a job that is not kept."""
    now = timezone.now()
    given = {"name": "system.ping", "code": "broken", "message": f"It broke, way {next(_count)}.", "count": 1}
    times = {"first_seen_at": now - timedelta(hours=1), "last_seen_at": now}
    keys = {"fingerprint": uuid4(), "sample_job_id": uuid7()}
    return ErrorGroup.objects.create(tenant=tenant, **{**given, **times, **keys, **fields})


def make_attestation(job: Job | None = None, **fields: Any) -> Attestation:
    """An attestation of a completed attempt (of `job`, when given), with the digest that goes with it."""
    name = f"job-{job.pk}" if job else f"test-{next(_count)}"
    fields = {
        "tenant": job.tenant if job else None,
        "job": job,
        "workflow": job.workflow if job else None,
        "attestation_key": f"worker-completion:{name}",
        "attestation_type": Attestation.Type.WORKER_COMPLETION,
        "entity_type": Attestation.EntityType.JOB,
        "status": Attestation.Status.COMPLETED,
        "attestation_data": {"result": None},
        "expires_at": timezone.now() + timedelta(days=7),
        **fields,
    }
    attestation = Attestation(**fields)
    attestation.digest = fields.get("digest") or attestation.compute_digest()
    attestation.save(force_insert=True)
    return attestation


def make_event(job: Job, type_: str = "log", **data: Any) -> Event:
    return Event.objects.create(
        tenant=job.tenant, job=job, workflow=job.workflow, type=type_, data=data or {"lines": ["a line"]}
    )


def make_worker(tenant: Tenant | None = None, **fields: Any) -> Worker:
    fields = {"worker_id": f"worker-{next(_count)}", "services": ["artgen"], **fields}
    return Worker.objects.create(tenant=tenant, **fields)


def make_service(name: str = "", **fields: Any) -> Queue:
    """The record of a service; the clusters' queues have theirs from the migrations."""
    return Queue.objects.create(name=name or f"service-{next(_count)}", is_remote=True, **fields)


def make_cluster(queue: str = "default", **fields: Any) -> Cluster:
    """A cluster that beats."""
    return Cluster.objects.create(
        queue=queue, **{"hostname": "render-1", "pid": 1_000 + next(_count), **fields}
    )


def make_silent_cluster(queue: str = "default", **fields: Any) -> Cluster:
    return make_cluster(queue, beat_at=timezone.now() - timedelta(minutes=3), **fields)


def make_endpoint(tenant: Tenant, **fields: Any) -> Endpoint:
    """An endpoint with a secret, that takes everything."""
    fields = {"url": f"https://hooks-{next(_count)}.example/in", **fields}
    endpoint = Endpoint.objects.create(tenant=tenant, **fields)
    rotate_secret(endpoint)
    return endpoint


def make_message(tenant: Tenant, **fields: Any) -> Message:
    type_ = fields.get("type", "job.completed")
    body = {"type": type_, "timestamp": "2026-01-01T00:00:00.000Z", "workflow_id": None, "user_id": None}
    fields = {
        "type": type_,
        "body": json.dumps({**body, "data": {}}).encode(),
        "trace_id": "0" * 31 + "1",
        **fields,
    }
    return Message.objects.create(tenant=tenant, **fields)


def make_delivery(endpoint: Endpoint, message: Message | None = None, **fields: Any) -> Delivery:
    """A delivery in any status, with what that status asks for."""
    now = timezone.now()
    asked_for: dict[str, dict[str, Any]] = {
        "pending": {"next_attempt_at": now},
        "sending": {"lease_token": uuid7(), "lease_expires_at": now + timedelta(seconds=60)},
        "delivered": {"delivered_at": now},
        "failed": {"failed_at": now, "reason": "http_status", "detail": "The endpoint answered 500."},
        "held": {"held_at": now, "reason": "paused"},
    }
    return Delivery.objects.create(
        tenant=endpoint.tenant,
        endpoint=endpoint,
        message=message or make_message(endpoint.tenant),
        **{**asked_for[fields.get("status", "pending")], **fields},
    )


def make_attempt(delivery: Delivery, **fields: Any) -> Attempt:
    """An attempt at `delivery` that was answered with 200, unless it is said otherwise."""
    fields = {
        "number": 1,
        "outcome": Attempt.Outcome.DELIVERED,
        "status_code": 200,
        "started_at": timezone.now(),
        "duration_ms": 12,
        **fields,
    }
    return Attempt.objects.create(
        tenant=delivery.tenant,
        delivery=delivery,
        endpoint=delivery.endpoint,
        url=delivery.endpoint.url,
        **fields,
    )


def make_sender(tenant: Tenant, **fields: Any) -> Sender:
    """A sender with a secret."""
    sender = Sender.objects.create(tenant=tenant, **{"name": f"sender {next(_count)}", **fields})
    rotate_secret(sender)
    return sender


def make_receipt(sender: Sender | None, **fields: Any) -> Receipt:
    """A call of this sender that was applied; without one, a call that was refused."""
    digest = f"{next(_count):064x}"
    became = {"state": "applied", "applied_at": timezone.now()} if sender else {"state": "refused"}
    fields = {
        "tenant": sender.tenant if sender else None,
        "path": Receipt.Path.USER_NOTIFIED,
        "key": digest if sender else "",
        "digest": digest,
        "body": {},
        "size": 2,
        "trace_id": "0" * 31 + "1",
        **became,
        **fields,
    }
    return Receipt.objects.create(sender=sender, **fields)


def make_alert(tenant: Tenant | None, problem: str = "stuck", **fields: Any) -> ProblemAlert:
    """An alert as the evaluator leaves it: with something to tell."""
    fields = {"untold_count": 2, "workflow_ids": ["workflow-a"], "since": timezone.now(), **fields}
    return ProblemAlert.objects.create(tenant=tenant, problem_type=problem, **fields)


def make_submission(tenant: Tenant, **fields: Any) -> Submission:
    """A submission in any status, with what that status asks for; it awaits review unless said otherwise."""
    now = timezone.now()
    asked_for: dict[str, dict[str, Any]] = {
        "awaiting_review": {},
        "proof_generation": {"decided_at": now},
        "proof_publishing": {"decided_at": now, "proof_json": "{}"},
        "complete": {"decided_at": now, "transaction_id": f"{next(_count):#066x}", "verified_at": now},
        "rejected": {"failed_at": now, "failure_reason": "It is not theirs."},
    }
    fields = {
        "sha256_hash": f"{next(_count):064x}",
        "trace_id": "0" * 31 + "1",
        **asked_for[fields.get("status", "awaiting_review")],
        **fields,
    }
    return Submission.objects.create(tenant=tenant, **fields)


def make_transaction(submission: Submission | None = None, **fields: Any) -> ChainTransaction:
    """A transaction that was signed, and waits for its block unless said otherwise: for a submission when given, for a
    proof session's workflow when that is, else by hand.
    """
    number = next(_count)
    of = submission or fields.get("workflow")
    fields = {
        "tenant": of.tenant if of else None,
        "sha256_hash": submission.sha256_hash if submission else f"{number:064x}",
        "chain_id": 31337,
        "sender": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "nonce": number,
        "contract_address": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
        "transaction_id": f"{number:#066x}",
        "raw": "0x02f8",
        "max_fee_per_gas": 1_500_000_000,
        "max_priority_fee_per_gas": 1_000_000_000,
        **fields,
    }
    transaction: ChainTransaction = ChainTransaction.objects.create(submission=submission, **fields)
    return transaction


def make_session(tenant: Tenant, proof_type: str = "groth16", *, session_id: str = "") -> ProofSession:
    """A proof session that waits for a worker, with its three jobs."""
    name = session_id or f"session-{next(_count)}"
    return start_session(tenant, name, proof_type, actor_id="alice")[0]
