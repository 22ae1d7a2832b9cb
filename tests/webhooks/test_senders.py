"""Senders: added and given new secrets, none of which another sender has."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from jobs.errors import DomainError, InvalidInput
from jobs.models import Tenant
from tests.factories import make_tenant
from webhooks.models import Sender, SenderSecret
from webhooks.services.senders import (
    SecretTaken,
    SenderExists,
    create_sender,
    live_senders,
    rotate_sender_secret,
)
from webhooks.signatures import PREFIX, is_standard, make_secret

GIVEN = "correct horse battery staple!"


def test_a_sender_is_made_with_a_secret_that_is_sealed(tenant: Tenant) -> None:
    sender, text = create_sender(tenant, name="upstream")

    assert (sender.tenant, sender.name, sender.is_active) == (tenant, "upstream", True)
    assert text.startswith(PREFIX)
    assert is_standard(text)
    secret = SenderSecret.objects.get(sender=sender)
    assert (secret.text, secret.expires_at) == (text, None)
    assert text not in str(vars(secret))


def test_a_secret_may_be_given(tenant: Tenant) -> None:
    sender, text = create_sender(tenant, name="upstream", secret=GIVEN)

    assert text == GIVEN
    assert live_senders(None) == [(sender, [GIVEN])]


@pytest.mark.parametrize(
    "secret", ["x" * 15, "x" * 501, "ä" * 20, "x" * 20 + "\n", " " + "x" * 20, "\0" * 20]
)
def test_a_secret_that_is_none_is_refused(tenant: Tenant, secret: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        create_sender(tenant, name="upstream", secret=secret)

    assert [error.code for error in refused.value.errors] == ["secret_invalid"]
    assert not Sender.objects.exists()


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\0b", "a\nb"])
def test_a_name_that_is_none_is_refused(tenant: Tenant, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        create_sender(tenant, name=name)

    assert [error.code for error in refused.value.errors] == ["name_invalid"]


def test_a_name_is_taken_within_its_tenant(tenant: Tenant, other_tenant: Tenant) -> None:
    create_sender(tenant, name="upstream")
    create_sender(other_tenant, name="upstream")

    with pytest.raises(SenderExists) as refused:
        create_sender(tenant, name="upstream")

    assert (refused.value.code, refused.value.status) == ("sender_exists", 409)
    assert Sender.objects.count() == 2


def test_a_secret_of_another_sender_is_taken(tenant: Tenant, other_tenant: Tenant) -> None:
    theirs, _ = create_sender(other_tenant, name="upstream", secret=GIVEN)
    mine, _ = create_sender(tenant, name="upstream")

    def assert_taken(secret: str) -> None:
        with pytest.raises(SecretTaken) as refused:
            create_sender(tenant, name="another", secret=secret)
        assert (refused.value.code, refused.value.status) == ("secret_taken", 409)
        with pytest.raises(SecretTaken):
            rotate_sender_secret(mine, secret=secret)

    assert_taken(GIVEN)
    Sender.objects.filter(pk=theirs.pk).update(is_active=False)
    assert_taken(GIVEN)
    new = rotate_sender_secret(theirs)
    assert_taken(GIVEN)
    SenderSecret.objects.exclude(expires_at=None).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert_taken(new)
    assert rotate_sender_secret(mine, secret=GIVEN) == GIVEN


def test_a_secret_that_signs_the_same_is_taken(tenant: Tenant) -> None:
    """In the standard form a secret is the same key with and without its prefix."""
    _, text = create_sender(tenant, name="upstream")

    with pytest.raises(SecretTaken):
        create_sender(tenant, name="another", secret=text.removeprefix(PREFIX))


def test_a_rotation_keeps_the_secret_before_for_a_while(tenant: Tenant) -> None:
    sender, first = create_sender(tenant, name="upstream")

    second = rotate_sender_secret(sender, keep_hours=2)

    assert live_senders(str(sender.pk)) == [(sender, [second, first])]
    kept = SenderSecret.objects.exclude(expires_at=None).get()
    assert kept.expires_at
    assert timedelta(minutes=119) < kept.expires_at - timezone.now() <= timedelta(hours=2)
    third = rotate_sender_secret(sender, keep_hours=0)
    assert live_senders(None) == [(sender, [third, first])]


@pytest.mark.parametrize("hours", [-1, 169])
def test_it_is_kept_within_bounds(tenant: Tenant, hours: int) -> None:
    sender, _ = create_sender(tenant, name="upstream")

    with pytest.raises(InvalidInput):
        rotate_sender_secret(sender, keep_hours=hours)

    assert sender.secrets.count() == 1


def test_live_senders_are_found_in_one_query(
    tenant: Tenant, other_tenant: Tenant, statements: list[str]
) -> None:
    mine, secret = create_sender(tenant, name="upstream")
    theirs, _ = create_sender(other_tenant, name="upstream")
    quiet, _ = create_sender(tenant, name="quiet")
    Sender.objects.filter(pk=quiet.pk).update(is_active=False)

    statements.clear()
    found = live_senders(None)
    assert {sender.tenant_id for sender, _ in found} == {tenant.pk, other_tenant.pk}
    assert live_senders(str(mine.pk)) == [(mine, [secret])]
    for nobody in (str(quiet.pk), "nobody", "", "0" * 32, "\0", "ä"):
        assert live_senders(nobody) == []
    assert len(statements) == 2 + 6
    Tenant.objects.filter(pk=other_tenant.pk).update(is_active=False)
    assert [sender for sender, _ in live_senders(None)] == [mine]
    assert theirs not in [mine]


@pytest.mark.django_db(transaction=True)
def test_of_two_who_give_the_same_secret_at_once_one_has_it() -> None:
    tenants = [make_tenant(), make_tenant()]
    secret, codes = make_secret(), []
    together = threading.Barrier(2)

    def give(tenant: Tenant) -> None:
        together.wait(10)
        try:
            create_sender(tenant, name="upstream", secret=secret)
            codes.append("")
        except DomainError as error:
            codes.append(error.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=give, args=[tenant]) for tenant in tenants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(codes) == ["", "secret_taken"]
    assert SenderSecret.objects.count() == 1
