"""Signs and sends calls as an upstream or a client's app would, for the tests of what comes in."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from django.test import Client

from jobs.models import Tenant, Workflow
from tests.factories import make_workflow
from webhooks.models import Sender
from webhooks.services.senders import create_sender
from webhooks.signatures import sign_plain, sign_standard

COMPLETED = "/api/webhook/workflow-completed"
NOTIFIED = "/api/user_notified"
MINIAPP = "/miniapp-gen-mock"
PATHS = [COMPLETED, NOTIFIED, MINIAPP]
_clients = threading.local()

RECEIPT_FIELDS = {"receipt_id", "state", "reason", "is_duplicate", "workflow_id", "trace_id"}


def make_sender(tenant: Tenant, name: str = "upstream", secret: str = "") -> tuple[Sender, str]:
    return create_sender(tenant, name=name, secret=secret)


def encoded(content: Any) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def plain(secret: str, content: Any) -> dict[str, str]:
    """The header of the plain form."""
    return {"x-webhook-signature": sign_plain(secret, encoded(content))}


def standard(secret: str, content: Any, *, id_: str = "msg_1", at: float | None = None) -> dict[str, str]:
    """The headers of the standard form."""
    timestamp = int(time.time() if at is None else at)
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign_standard(secret, id_, timestamp, encoded(content)),
    }


def post(
    path: str, content: Any, headers: dict[str, str] | None = None, *, content_type: str = "application/json"
) -> Any:
    """POST bytes, or what is to be JSON, as one who has no cookie and no CSRF token."""
    # Django's client would leave out the content type of an empty body.
    return _client().generic("POST", path, encoded(content), headers=headers or {}, CONTENT_TYPE=content_type)


def _client() -> Client:
    """This thread's client: each new one would load the middleware again, which costs more than the call."""
    if not hasattr(_clients, "client"):
        _clients.client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client: Client = _clients.client
    return client


def send(path: str, content: Any, secret: str) -> Any:
    """POST in the plain form."""
    return post(path, content, plain(secret, content))


def notice_of(workflow: Workflow, **fields: Any) -> dict[str, Any]:
    return {"workflow_id": workflow.workflow_id, "user_id": "user-1", **fields}


def make_ended(tenant: Tenant, **fields: Any) -> Workflow:
    return make_workflow(tenant, **{"status": "completed", "user_id": "user-1", **fields})
