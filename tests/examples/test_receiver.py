"""The receiver to copy takes what the platform sends, once, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.conf import settings

from examples.receiver import verify
from jobs.demo.processes import free_port
from jobs.models import Tenant
from tests.receivers import Receiver
from webhooks.sending.loop import send_due
from webhooks.services.deliveries import redeliver, send_test
from webhooks.services.endpoints import create_endpoint


@pytest.fixture
def example(tenant: Tenant, loopback: None) -> Iterator[tuple[Any, subprocess.Popen[str]]]:
    """An endpoint, and the example listening there with its secret."""
    port = free_port()
    endpoint, secret = create_endpoint(tenant, url=f"http://127.0.0.1:{port}/")
    process = subprocess.Popen(
        [sys.executable, "-u", settings.BASE_DIR / "examples" / "receiver.py", str(port)],
        env={**os.environ, "WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            assert client.post(endpoint.url, content=b"{}").status_code == 401
        yield endpoint, process
        process.terminate()


def test_what_the_platform_sends_is_taken_once(example: tuple[Any, subprocess.Popen[str]]) -> None:
    endpoint, process = example

    first = send_test(endpoint)
    send_due()
    again = redeliver(first)
    send_due()
    process.terminate()

    first.refresh_from_db()
    again.refresh_from_db()
    assert (first.status, again.status) == ("delivered", "delivered")
    assert process.stdout
    assert process.stdout.read().count("webhook.test") == 1


@pytest.mark.parametrize("change", ["body", "id", "timestamp", "signature", "secret"])
def test_what_was_changed_is_refused(
    tenant: Tenant, receiver: Receiver, make_endpoint: Any, change: str
) -> None:
    endpoint, secret = make_endpoint()
    send_test(endpoint)
    send_due()
    (request,) = receiver.requests
    headers, body = dict(request.headers), request.body
    assert verify(headers, body, secret) == headers["webhook-id"]

    if change == "body":
        body = body.replace(b"test", b"toast")
    elif change == "secret":
        secret = "whsec_" + "A" * 44
    else:
        headers[f"webhook-{change}"] = "1" + headers[f"webhook-{change}"]

    assert verify(headers, body, secret) is None
