"""What is kept and what is forgotten; which sending processes are known to be dead; senders by command."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from jobs.ids import first_id_of
from jobs.models import Tenant
from jobs.queue.enqueue import enqueue_job
from jobs.testing import RunJobs
from tests.conftest import MakeEndpoint
from tests.factories import make_attempt, make_delivery, make_message, make_receipt, make_sender
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


def test_forgetting_is_a_job(tenant: Tenant, run_jobs: RunJobs) -> None:
    enqueue_job("webhooks.forget_messages")

    (job,) = run_jobs()

    assert (job.status, job.result) == ("completed", {"messages": 0, "receipts": 0})
