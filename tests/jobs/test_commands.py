"""The scriptable commands."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from jobs.models import ApiKey, Tenant
from jobs.tenancy.services import find_api_key


def run(*args: str) -> str:
    output = StringIO()
    call_command(*args, stdout=output)
    return output.getvalue()


def test_a_tenant_is_made_and_its_id_printed(db: None) -> None:
    printed = run("create_tenant", "acme", "--name", "Acme Inc.")

    tenant = Tenant.objects.get()
    assert printed == f"{tenant.pk}\n"
    assert (tenant.slug, tenant.name) == ("acme", "Acme Inc.")


@pytest.mark.parametrize("slug", ["Acme", "a b", "-a", "", "acme"])
def test_a_bad_or_taken_slug_is_refused(tenant: Tenant, slug: str) -> None:
    with pytest.raises(CommandError):
        run("create_tenant", slug)

    assert Tenant.objects.count() == 1


def test_a_key_is_made_and_printed_alone(tenant: Tenant) -> None:
    printed = run("create_api_key", "acme", "--name", "ci", "--scopes", "submit,read")

    key = find_api_key(printed.strip())
    assert printed.count("\n") == 1
    assert key is not None
    assert (key.name, key.scopes, key.tenant) == ("ci", ["submit", "read"], tenant)


@pytest.mark.parametrize(("slug", "scopes"), [("nobody", "read"), ("acme", "fly"), ("acme", "")])
def test_a_wrong_key_is_refused(tenant: Tenant, slug: str, scopes: str) -> None:
    with pytest.raises(CommandError):
        run("create_api_key", slug, "--name", "ci", "--scopes", scopes)

    assert not ApiKey.objects.exists()


def steer(*arguments: str) -> str:
    out = StringIO()
    call_command("queue", *arguments, stdout=out)
    return out.getvalue().strip()


def test_queues_are_steered_from_a_script(db: None) -> None:
    assert steer("pause", "default") == "default: paused, no limit"
    assert steer("limit", "default", "3") == "default: paused, 3 at a time"
    assert steer("resume", "default") == "default: running, 3 at a time"
    assert steer("limit", "default") == "default: running, no limit"
    assert steer("pause", "gpu", "--service") == "gpu: paused, no limit"


@pytest.mark.parametrize(
    "arguments", [["pause", "nonsense"], ["limit", "default", "0"], ["pause", "default", "3"]]
)
def test_what_can_not_be_said_of_a_queue_is_refused(db: None, arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        steer(*arguments)
