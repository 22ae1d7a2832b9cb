"""The top floor's part in the histories of `manage.py seed_demo`: what endpoints were told, and what apps told us.

Nothing of it is ever sent: each endpoint is paused or disabled, and what has not been delivered has failed or is held.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from jobs.demo.seeding.batches import Batch, Plan
from jobs.demo.seeding.copying import copy_rows, json_text
from jobs.demo.seeding.stories import Teller, WorkflowStory
from jobs.models import Event as Line
from jobs.models import Measure
from jobs.rollups.buckets import bucket_of
from webhooks.models import Endpoint, Reason, Receipt, Sender
from webhooks.models.messages import webhook_id_of
from webhooks.services.messages import Event, Takers, event_of_job, event_of_workflow, iso
from webhooks.services.secrets import rotate_secret
from webhooks.signatures import sign_plain

DISABLED_FOR = timedelta(days=1)
RECEIPTS_KEPT = timedelta(hours=12)  # older ones are left out: they are many
BY = "seed_demo"
WORKER = "webhooks@app-1:420"
APP, ALARM, ARCHIVE = "the app", "the alarm desk", "the old archive"
ENDPOINTS: dict[str, list[str]] = {
    APP: ["workflow.completed", "workflow.failed", "request.reminder"],
    ALARM: ["job.failed"],
    ARCHIVE: ["workflow.failed"],  # gone for good, and nobody has noticed
}

MESSAGE_COLUMNS = (
    "id",
    "tenant_id",
    "type",
    "body",
    "job_id",
    "workflow_id",
    "workflow_run",
    "trace_id",
    "request_id",
    "created_at",
)
DELIVERY_COLUMNS = (
    "id",
    "tenant_id",
    "message_id",
    "endpoint_id",
    "status",
    "is_manual",
    "step",
    "attempt_count",
    "lost_count",
    "worker",
    "status_code",
    "reason",
    "detail",
    "created_at",
    "delivered_at",
    "failed_at",
    "held_at",
)
ATTEMPT_COLUMNS = (
    "tenant_id",
    "delivery_id",
    "endpoint_id",
    "number",
    "outcome",
    "reason",
    "detail",
    "internal_detail",
    "url",
    "request_headers",
    "status_code",
    "response_headers",
    "response_body",
    "is_response_cut",
    "address",
    "timings",
    "worker",
    "started_at",
    "duration_ms",
)
RECEIPT_COLUMNS = (
    "id",
    "tenant_id",
    "sender_id",
    "path",
    "state",
    "reason",
    "key",
    "digest",
    "workflow_name",
    "workflow_id",
    "user_id",
    "headers",
    "notice",
    "body",
    "size",
    "remote_address",
    "trace_id",
    "duplicate_count",
    "created_at",
    "applied_at",
)


def make_endpoints(plan: Plan) -> None:
    """The endpoints and the sender of each tenant, made where they are not there."""
    for tenant in plan.tenants:
        for name, types in ENDPOINTS.items():
            if not Endpoint.objects.kept().filter(tenant=tenant.id, description=name).exists():
                _make_endpoint(plan, tenant.id, tenant.slug, name, types)
        sender, is_new = Sender.objects.get_or_create(tenant_id=tenant.id, name=APP)
        if is_new:
            rotate_secret(sender)


def _make_endpoint(plan: Plan, tenant: UUID, slug: str, name: str, types: list[str]) -> None:
    at = plan.now - DISABLED_FOR
    is_gone = name == ARCHIVE
    state: dict[str, Any] = (
        {
            "disabled_at": at,
            "disabled_reason": Endpoint.DisabledReason.FAILING,
            "failures": 214,
            "failing_since": at - timedelta(days=5),
            "last_failure_at": at,
        }
        if is_gone
        else {"paused_at": plan.now, "paused_by": BY, "last_success_at": plan.now}
    )
    host = f"{name.split()[-1]}.{slug}.example"
    endpoint = Endpoint.objects.create(
        tenant_id=tenant, url=f"https://{host}/affidavit", description=name, event_types=types, **state
    )
    rotate_secret(endpoint)


def tell_batch(batch: Batch) -> None:
    """Write the messages of a batch, their deliveries and attempts, and the receipts of what apps said."""
    teller = _Telling(batch)
    for attempt in batch.attempts():
        if attempt.is_final:
            teller.tell(event_of_job(attempt))
    stories = {workflow.id: workflow for workflow in batch.workflows}
    for run in batch.runs():
        teller.tell(
            event_of_workflow(run), of=stories[run.pk] if run.attempt == stories[run.pk].attempt else None
        )
    for workflow in batch.workflows:
        if workflow.notification_status == "told":
            teller.hear(workflow)
    teller.write()


@dataclass(frozen=True, slots=True)
class _Call:
    """A message on its way to an endpoint."""

    endpoint: Endpoint
    delivery: UUID
    message: UUID
    body: bytes
    asked_at: datetime


class _Telling:
    """Gathers the rows of a batch."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.rng, self.now = batch, batch.rng, batch.plan.now
        tenants = [tenant.id for tenant in batch.plan.tenants]
        endpoints = list(Endpoint.objects.kept().filter(tenant__in=tenants).order_by("pk"))
        self.takers = Takers(endpoint for endpoint in endpoints if endpoint.description in ENDPOINTS)
        self.secrets = {endpoint.pk: endpoint.secrets.get(expires_at=None).text for endpoint in endpoints}
        senders = Sender.objects.filter(tenant__in=tenants, name=APP)
        self.senders = dict(senders.values_list("tenant_id", "pk"))
        self.ids = Teller(self.rng, self.now, [])
        self.messages: list[tuple[Any, ...]] = []
        self.deliveries: list[tuple[Any, ...]] = []
        self.attempts: list[tuple[Any, ...]] = []
        self.receipts: list[tuple[Any, ...]] = []
        self.lines: list[tuple[Any, ...]] = []

    def tell(self, event: Event, *, of: WorkflowStory | None = None) -> None:
        """A message to whoever takes it; `of` is the workflow whose notification hangs on it."""
        endpoints = self.takers.of(event.tenant_id, event.type)
        if not endpoints:
            return
        key, body = self.ids.id_at(event.at), event.body.encode()
        self.messages.append(
            (
                key,
                event.tenant_id,
                event.type,
                body,
                event.job_pk,
                event.workflow_pk,
                event.workflow_run,
                event.trace_id,
                event.request_id,
                event.at,
            )
        )
        for endpoint in endpoints:
            call = _Call(endpoint, self.ids.id_at(event.at), key, body, event.at)
            if endpoint.description == ARCHIVE:
                self._fail_for_good(call)
            elif endpoint.description == APP and of is not None and of.notification_status == "failed":
                self._refuse(call)
            else:
                self._succeed(call)

    def _succeed(self, call: _Call) -> None:
        at, number = call.asked_at + timedelta(milliseconds=self.rng.uniform(3, 40)), 1
        if self.rng.random() < 0.04:
            problem = (Reason.HTTP_STATUS, "The endpoint answered 503.")
            at = self._attempt(call, at, 1, *problem, status=503) + timedelta(seconds=self.rng.uniform(5, 6))
            number = 2
        at = self._attempt(call, at, number, status=200)
        self._end(call, "delivered", at, number, status=200)

    def _refuse(self, call: _Call) -> None:
        problem = (Reason.ADDRESS_REFUSED, "Nothing is sent to 10.20.0.7: it is not a public address.")
        at = self._attempt(call, call.asked_at, 1, *problem)
        self._end(call, "failed", at, 1, *problem)

    def _fail_for_good(self, call: _Call) -> None:
        """Its host takes no connections: tried until the endpoint was disabled, and held since."""
        disabled_at = call.endpoint.disabled_at
        assert disabled_at
        at, number = call.asked_at, 0
        for wait in (0.01, 5, 300, 1_800, 7_200):
            following = at + timedelta(seconds=wait * self.rng.uniform(1, 1.2))
            if following > disabled_at:
                break
            number += 1
            at = self._attempt(call, following, number, Reason.CONNECT_FAILED, "Nobody took the connection.")
        self._end(call, "held", max(disabled_at, call.asked_at), number, Reason.DISABLED)

    def _attempt(
        self,
        call: _Call,
        at: datetime,
        number: int,
        reason: str = "",
        detail: str = "",
        *,
        status: int | None = None,
    ) -> datetime:
        """One call of an endpoint; when it was over."""
        endpoint, took = call.endpoint, self._took(reason, status)
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook_id_of(call.message),
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-attempt": str(number),
            "x-webhook-signature": sign_plain(self.secrets[endpoint.pk], call.body),
        }
        parts = {"connect": took // 4, "first_byte": took} if status else {}
        self.attempts.append(
            (
                endpoint.tenant_id,
                call.delivery,
                endpoint.pk,
                number,
                "failed" if reason else "delivered",
                reason,
                detail,
                "",
                endpoint.url,
                json_text(headers),
                status,
                json_text([["content-type", "application/json"]] if status else []),
                '{"ok":true}' if status == 200 else "",
                False,
                "203.0.113.24" if status else "",
                json_text({**parts, "total": took}),
                WORKER,
                at,
                took,
            )
        )
        name, ended = str(endpoint.pk), at + timedelta(milliseconds=took)
        count = functools.partial(self.batch.count, endpoint.tenant_id)
        count(Measure.DELIVERED, name, "failed" if reason else "succeeded", ended)
        count(Measure.ANSWERED, name, str(bucket_of(took / 1_000)), ended)
        return ended

    def _took(self, reason: str, status: int | None) -> int:
        """Milliseconds; a refused address is not called at all, and who is overloaded is slow."""
        if reason == Reason.ADDRESS_REFUSED:
            return 1
        typical = 45 if status == 503 else 28
        return int(min(typical * self.rng.lognormvariate(0, 0.7), 14_000))

    def _end(
        self,
        call: _Call,
        outcome: str,
        at: datetime,
        attempts: int,
        reason: str = "",
        detail: str = "",
        *,
        status: int | None = None,
    ) -> None:
        ends = (at if outcome == word else None for word in ("delivered", "failed", "held"))
        self.deliveries.append(
            (
                call.delivery,
                call.endpoint.tenant_id,
                call.message,
                call.endpoint.pk,
                outcome,
                False,
                attempts,
                attempts,
                0,
                WORKER if attempts else "",
                status,
                reason,
                detail,
                call.asked_at,
                *ends,
            )
        )

    def hear(self, workflow: WorkflowStory) -> None:
        """The app says that the user of a workflow knows."""
        assert workflow.ended_at
        at = workflow.ended_at + timedelta(seconds=self.rng.uniform(0.5, 4))
        if at < self.now - RECEIPTS_KEPT:
            return
        tenant = self.batch.tenant_of(workflow).id
        notice = {"notified_at": iso(at), "method": self.rng.choice(("push", "in_app", "email"))}
        body = {"workflow_id": workflow.workflow_id, "user_id": workflow.user_id, **notice}
        text = json_text(body)
        digest, key = hashlib.sha256(text.encode()).hexdigest(), self.ids.id_at(at)
        self.receipts.append(
            (
                key,
                tenant,
                self.senders[tenant],
                Receipt.Path.USER_NOTIFIED.value,
                Receipt.State.APPLIED.value,
                "",
                digest,
                digest,
                workflow.workflow_id,
                workflow.id,
                workflow.user_id,
                json_text({"content-type": "application/json"}),
                json_text(notice),
                text,
                len(text),
                "203.0.113.24",
                workflow.trace_id,
                0,
                at,
                at,
            )
        )
        said = {"user_id": workflow.user_id, **notice, "receipt_id": str(key)}
        self.lines.append((tenant, None, workflow.id, Line.Type.USER_NOTIFIED.value, json_text(said), at))

    def write(self) -> None:
        copy_rows("webhooks_message", MESSAGE_COLUMNS, self.messages)
        copy_rows("webhooks_delivery", DELIVERY_COLUMNS, self.deliveries)
        copy_rows("webhooks_attempt", ATTEMPT_COLUMNS, sorted(self.attempts, key=lambda row: row[-2]))
        copy_rows("webhooks_receipt", RECEIPT_COLUMNS, self.receipts)
        line_columns = ("tenant_id", "job_id", "workflow_id", "type", "data", "created_at")
        copy_rows("jobs_event", line_columns, self.lines)
