"""Senders: added, given new secrets, and found again by what they sign."""

from __future__ import annotations

import logging
import re
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from jobs.errors import DomainError, InvalidInput
from jobs.models import Tenant
from jobs.statements import run
from jobs.tenancy.sealing import Unreadable, unseal
from webhooks.models import Sender, SenderSecret
from webhooks.services.messages import SQL
from webhooks.services.secrets import KEPT_HOURS, rotate_secret
from webhooks.signatures import is_standard, sign_plain, sign_standard

logger = logging.getLogger(__name__)

GIVEN_SECRET = re.compile(r"(?! )[ -~]{16,500}(?<! )")
NAME_MAX = 100
NOBODY = UUID(int=0)
# Held by whoever gives a sender a secret, so that of two who give the same one the second sees the first's.
SECRETS_LOCK = 0x5EC2E75


class SenderExists(DomainError):
    """The tenant already has a sender of this name."""

    code = "sender_exists"


class SecretTaken(DomainError):
    """A sender has this secret already: a call signed with it could be either's."""

    code = "secret_taken"


def create_sender(tenant: Tenant, *, name: str, secret: str = "") -> tuple[Sender, str]:
    """Add a sender and return it with the text of its secret, which is made here unless it is given.

    Raises InvalidInput for a malformed name or secret, SenderExists and SecretTaken.
    """
    if not (1 <= len(name) <= NAME_MAX and name.isprintable() and name.strip()):
        raise InvalidInput.at("/name", "name_invalid", f"A name has 1 to {NAME_MAX} printable characters.")
    try:
        with transaction.atomic():
            _refuse_secret(secret)
            sender = Sender.objects.create(tenant=tenant, name=name)
            return sender, rotate_secret(sender, text=secret)
    except IntegrityError as error:
        raise SenderExists(f"There is a sender {name!r} already.") from error


def rotate_sender_secret(sender: Sender, *, secret: str = "", keep_hours: int = KEPT_HOURS) -> str:
    """Give a sender a new secret and return its text; the one before verifies for `keep_hours` more.

    Raises InvalidInput for a malformed secret or hours out of bounds, and SecretTaken.
    """
    with transaction.atomic():
        _refuse_secret(secret)
        return rotate_secret(sender, text=secret, keep_hours=keep_hours)


def live_senders(sender_id: str | None) -> list[tuple[Sender, list[str]]]:
    """The active senders of active tenants with their live secrets, the newest first.

    With a `sender_id` that one alone; nobody for an id that is malformed or unknown.
    """
    asked = None if sender_id is None else _uuid(sender_id)
    found: dict[UUID, tuple[Sender, list[str]]] = {}
    # Every call that comes in passes here, so the ORM doesn't compile it each time.
    for row in run("live_senders", {"sender_id": asked}, folder=SQL):
        if text := _text_of(row.sealed, row.id):
            sender = Sender(id=row.id, tenant_id=row.tenant_id, name=row.name)
            found.setdefault(row.id, (sender, []))[1].append(text)
    return list(found.values())


def _refuse_secret(secret: str) -> None:
    """Raise for a given secret that is malformed, or that some sender of any tenant has."""
    if not secret:
        return
    if not GIVEN_SECRET.fullmatch(secret):
        raise InvalidInput.at(
            "/secret",
            "secret_invalid",
            "A secret has 16 to 500 printable ASCII characters, no space at its ends.",
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SECRETS_LOCK])
    mine = _marks(secret)
    # Those of inactive senders too: they may become active again.
    if any(mine & _marks(_text_of(other.sealed, other.sender_id)) for other in SenderSecret.objects.live()):
        raise SecretTaken("A sender has this secret already; choose another, or let one be made.")


def _marks(secret: str) -> set[str]:
    """What `secret` signs in each form: two that share any of it can't be told apart, whatever their texts.

    `whsec_` and the same without it are one key in the standard form.
    """
    if not secret:
        return set()
    return {sign_plain(secret, b"")} | ({sign_standard(secret, "", 0, b"")} if is_standard(secret) else set())


def _text_of(sealed: str, sender_id: UUID) -> str:
    """The secret itself, or nothing for one that no key opens."""
    try:
        return unseal(sealed)
    except Unreadable:
        logger.error("a secret of sender %s is sealed with a key that is gone", sender_id)
        return ""


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return NOBODY
