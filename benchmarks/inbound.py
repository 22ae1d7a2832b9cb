"""How many signed calls the platform takes in a second, each of them new and each with its effect."""

from __future__ import annotations

import json
import subprocess
import sys

from django.utils import timezone

from benchmarks.database import empty_tables, query
from benchmarks.jobs import the_tenant
from benchmarks.processes import ROOT, web
from jobs.models import Tenant, Workflow
from webhooks.services.senders import create_sender
from webhooks.signatures import sign_plain

CONNECTIONS = 16
CALLS = 20_000  # more than can be taken in the time


def measure(*, is_quick: bool) -> dict[str, float]:
    """Users are said to know of workflows that have ended: receipt, state and event, durable at the answer."""
    seconds, calls = (1.0, 2_000) if is_quick else (6.0, CALLS)
    empty_tables()
    tenant = the_tenant()
    _, secret = create_sender(tenant, name="app")
    requests = [_request(secret, name) for name in _ended_workflows(tenant, calls)]
    with web() as port:
        command = [sys.executable, "-m", "benchmarks.load", str(port), str(CONNECTIONS), str(seconds)]
        output = subprocess.check_output(command, input=b"\0".join(requests), cwd=ROOT, timeout=seconds + 60)
    seen = json.loads(output)
    assert seen["statuses"].keys() == {"200"}, f"every answer should be 200: {seen['statuses']}"
    taken = seen["statuses"]["200"]
    assert taken < calls, "the calls ran out, and what came after them were duplicates"
    told = query("SELECT count(*) FROM jobs_workflow WHERE notification_status = 'told'")[0]
    assert told == taken, f"{taken} calls were answered with 200, {told} users are told"
    return {"inbound_webhook_rps": len(seen["millis"]) / seconds}


def _ended_workflows(tenant: Tenant, count: int) -> list[str]:
    now = timezone.now()
    rows = [
        Workflow(
            tenant=tenant,
            workflow_id=f"workflow-{number}",
            user_id="user-1",
            total_steps=1,
            status=Workflow.Status.COMPLETED,
            completed_at=now,
            trace_id="0" * 31 + "1",
        )
        for number in range(count)
    ]
    Workflow.objects.bulk_create(rows, batch_size=1_000)
    return [row.workflow_id for row in rows]


def _request(secret: str, workflow_id: str) -> bytes:
    body = json.dumps({"workflow_id": workflow_id, "user_id": "user-1", "method": "push"}).encode()
    head = (
        "POST /api/user_notified HTTP/1.1",
        "Host: 127.0.0.1",
        f"x-webhook-signature: {sign_plain(secret, body)}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "\r\n",
    )
    return "\r\n".join(head).encode() + body
