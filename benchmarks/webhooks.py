"""Endpoints and events to measure with, and the proof that they were really told."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from benchmarks.database import query
from jobs.models import Tenant
from webhooks.models import Endpoint
from webhooks.services.messages import Event, write_messages
from webhooks.services.secrets import rotate_secret

# What a cluster needs to send to a receiver of ours.
ALLOWED = {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "WEBHOOK_ALLOW_HTTP": "true"}
# The data of a workflow.completed of ordinary size.
DATA: dict[str, Any] = {
    "workflow_id": "workflow-0123456789abcdef01234567",
    "status": "completed",
    "run": 1,
    "outputs": [f"https://cdn.example.com/outputs/{number:08x}/image.png" for number in range(4)],
    "error": None,
    "total_steps": 4,
    "completed_steps": 4,
}


def add_endpoints(tenant: Tenant, count: int, url: str) -> list[Endpoint]:
    """Endpoints of one tenant that may be sent to as fast as anything allows."""
    endpoints = [
        Endpoint.objects.create(tenant=tenant, url=f"{url}{number}", max_in_flight=100)
        for number in range(count)
    ]
    for endpoint in endpoints:
        rotate_secret(endpoint)
    return endpoints


def tell(tenant: Tenant, count: int) -> None:
    """Write messages, each to every endpoint of the tenant."""
    for _ in range(count):
        write_messages([Event(tenant_id=tenant.pk, type="workflow.completed", at=timezone.now(), data=DATA)])


def are_all_told() -> bool:
    return bool(query("SELECT NOT EXISTS (SELECT FROM webhooks_delivery WHERE status <> 'delivered')")[0])


def check_all_told(count: int) -> None:
    """Raise AssertionError unless `count` deliveries were made, each at its first attempt."""
    delivered, attempts = query(
        """
        SELECT (SELECT count(*) FROM webhooks_delivery WHERE status = 'delivered' AND attempt_count = 1),
               (SELECT count(*) FROM webhooks_attempt WHERE outcome = 'delivered')
        """
    )
    assert (delivered, attempts) == (count, count), f"{count} were to be made, not {delivered}, {attempts}"
