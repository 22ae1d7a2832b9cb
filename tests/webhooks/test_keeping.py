"""What is kept and what is forgotten; which sending processes are known to be dead; senders by command."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from jobs.admin.displays import page_url
from jobs.ids import first_id_of, uuid7
from jobs.models import Tenant
from tests.conftest import ApiClient, MakeEndpoint
from tests.factories import (
    make_attempt,
    make_delivery,
    make_message,
    make_receipt,
    make_sender,
    make_superuser,
    make_tenant,
)
from tests.factories import make_endpoint as make_endpoint_row
from webhooks.models import Attempt, Delivery, Message, Receipt, Sender
from webhooks.sending.workers import is_known_dead, this_worker
from webhooks.services.retention import forget_messages, forget_receipts


def test_what_is_old_is_forgotten_with_all_that_belongs_to_it(
    tenant: Tenant, make_endpoint: MakeEndpoint, settings: Any
) -> None:
    settings.WEBHOOK_RETENTION_DAYS = 3
    endpoint, _ = make_endpoint()
    past = first_id_of(timezone.now() - timedelta(days=3, minutes=1))
    old, young = make_message(tenant, id=past), make_message(tenant)
    for message in (old, young):
        make_attempt(make_delivery(endpoint, message, status="delivered"))

    assert forget_messages() == 1

    assert list(Message.objects.all()) == [young]
    assert [delivery.message for delivery in Delivery.objects.all()] == [young]
    assert Attempt.objects.count() == 1


@pytest.mark.parametrize("status", ["pending", "sending", "held"])
def test_what_is_still_to_be_sent_is_kept_however_old(
    tenant: Tenant, make_endpoint: MakeEndpoint, status: str
) -> None:
    endpoint, _ = make_endpoint()
    message = make_message(tenant, id=first_id_of(timezone.now() - timedelta(days=300)))
    make_delivery(endpoint, message, status="delivered")
    make_delivery(endpoint, message, status=status, is_manual=True)

    assert forget_messages() == 0

    assert Delivery.objects.count() == 2


def test_old_receipts_are_forgotten(tenant: Tenant) -> None:
    sender = make_sender(tenant)
    make_receipt(sender, id=first_id_of(timezone.now() - timedelta(days=31)))
    young = make_receipt(sender)

    assert forget_receipts() == 1

    assert list(Receipt.objects.all()) == [young]


@pytest.mark.django_db(transaction=True)
def test_a_message_that_somebody_has_locked_is_left_for_the_next_time() -> None:
    tenant = make_tenant()
    past = timezone.now() - timedelta(days=31)
    held, _ = (make_message(tenant, id=first_id_of(past + timedelta(seconds=n))) for n in range(2))
    locked, over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Message.objects.select_for_update().get(pk=held.pk)
            locked.set()
            over.wait(timeout=10)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait(timeout=10)
    count = forget_messages()
    over.set()
    thread.join()

    assert count == 1
    assert list(Message.objects.all()) == [held]


def test_what_speaks_of_work_that_is_gone_is_shown(client: Client, tenant: Tenant, api: ApiClient) -> None:
    message = make_message(tenant, job_id=uuid7(), workflow_id=uuid7())
    delivery = make_delivery(make_endpoint_row(tenant), message, status="delivered")
    receipt = make_receipt(make_sender(tenant), workflow_id=uuid7(), workflow_name="workflow-gone")
    client.force_login(make_superuser())

    pages = [client.get(page_url(row)) for row in (message, delivery, receipt)]
    lists = [client.get(f"/admin/webhooks/{name}/") for name in ("message", "delivery", "receipt")]
    answers = [api.get("/api/webhook-deliveries"), api.get(f"/api/webhook-deliveries/{delivery.pk}")]

    assert [answer.status_code for answer in pages + lists + answers] == [200] * 8
    assert "workflow-gone" in pages[2].content.decode()


def test_a_process_is_known_dead_only_where_its_number_means_something() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    place, _, _ = this_worker("webhooks").rpartition(":")

    while is_alive := not is_known_dead(f"{place}:{process.pid}"):
        pass  # until it has ended; it stays a zombie, for nobody has waited for it
    process.wait()

    assert not is_alive
    assert is_known_dead(f"{place}:{process.pid}")
    assert not is_known_dead(this_worker("webhooks"))
    assert not is_known_dead(f"{place}:{os.getppid()}")
    assert not is_known_dead(f"webhooks@another-host/123456:{process.pid}")
    assert not is_known_dead("send_due")
    assert not is_known_dead("")


def create_sender(*options: str, **more: Any) -> str:
    output = StringIO()
    call_command("create_sender", "acme", "--name", "backend", *options, stdout=output, **more)
    return output.getvalue().strip()


def test_a_sender_is_made_by_command_and_its_secret_printed_alone(tenant: Tenant) -> None:
    text = create_sender()

    assert text.startswith("whsec_")
    assert Sender.objects.get().secrets.get().text == text


def test_a_given_secret_is_read_and_not_printed(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("a secret of theirs\n"))

    text = create_sender("--secret-from-stdin")

    assert text == ""
    assert Sender.objects.get().secrets.get().text == "a secret of theirs"


def test_one_that_exists_is_refused_or_rotated(tenant: Tenant) -> None:
    first = create_sender()

    with pytest.raises(CommandError, match="backend"):
        create_sender()
    second = create_sender("--rotate")

    assert {secret.text for secret in Sender.objects.get().secrets.live()} == {first, second}


def test_for_an_unknown_tenant_none_is_made(db: None) -> None:
    with pytest.raises(CommandError, match="acme"):
        create_sender()
