"""System checks of the settings: what is wrong, by id, with a hint."""

from __future__ import annotations

from email.utils import parseaddr
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email


@register
def check_public_url(**_: Any) -> list[CheckMessage]:
    parts = urlsplit(settings.PUBLIC_URL)
    if parts.scheme in {"http", "https"} and parts.hostname and not (parts.query or parts.fragment):
        return []
    return [
        Error(
            f"PUBLIC_URL is not an address: {settings.PUBLIC_URL!r}.",
            hint="It is where users reach the platform, like https://jobs.example.com.",
            id="affidavit.E001",
        )
    ]


@register
def check_database(**_: Any) -> list[CheckMessage]:
    if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        return []
    return [
        Error(
            "Affidavit runs on PostgreSQL only.",
            hint="Start DATABASE_URL with postgres://, or leave it unset for the embedded server.",
            id="affidavit.E002",
        )
    ]


@register
def check_numbers(**_: Any) -> list[CheckMessage]:
    """Each number within the bounds outside of which the queue would misbehave."""
    bounds = {
        "WORKER_RETRY_LIMIT": (1, 1_000),
        "LEASE_SECONDS": (3, 3_600),
        "JOB_TIMEOUT_SECONDS": (1, settings.JOB_TIMEOUT_SECONDS_MAX),
        "JOB_TIMEOUT_SECONDS_MAX": (1, 7 * 86_400),
        "ATTESTATION_RETENTION_DAYS": (1, 36_500),
        "EVENT_RETENTION_DAYS": (1, 36_500),
        "JOB_RETENTION_DAYS": (1, 36_500),
        "AUDIT_RETENTION_DAYS": (1, 36_500),
        "STUCK_AFTER_SECONDS": (1, 604_800),
        "NOTIFY_GRACE_SECONDS": (1, 604_800),
        "CLUSTER_WORKERS": (1, 256),
        "STREAM_SECONDS": (1, 86_400),
        "STREAMS_PER_KEY": (1, 1_000),
        "STREAMS_MAX": (1, 1_000),
        "WEBHOOK_RETENTION_DAYS": (1, 36_500),
        "DATA_UPLOAD_MAX_MEMORY_SIZE": (1_024, 64 * 1_048_576),
        "ARTIFACT_MAX_BYTES": (1_024, 1_073_741_824),
        "SUBMISSION_IMAGE_MAX_BYTES": (1_024, 1_073_741_824),
        "PROOF_MEMORY_MB": (128, 1_048_576),
        "PROOF_SECONDS": (1, 86_400),
        "PROOF_WORKERS": (1, 256),
        "CHAIN_CONFIRMATIONS": (1, 10_000),
        "CHAIN_RECEIPT_SECONDS": (1, 3_600),
        "CHAIN_MAX_FEE_GWEI": (1, 1_000_000),
    }
    return [
        Error(
            f"{name} is {getattr(settings, name)}.",
            hint=f"It must be between {low} and {high}.",
            id="affidavit.E003",
        )
        for name, (low, high) in bounds.items()
        if not low <= getattr(settings, name) <= high
    ]


@register
def check_queues(**_: Any) -> list[CheckMessage]:
    """A handler can only name a queue of settings.QUEUES; a queue without a handler needs no cluster."""
    if "default" in settings.QUEUES:
        return []
    return [Error("QUEUES has no 'default'.", hint="Schedules run there.", id="affidavit.E004")]


@register
def check_encryption_keys(**_: Any) -> list[CheckMessage]:
    try:
        MultiFernet([Fernet(key) for key in settings.ENCRYPTION_KEYS])
    except ValueError:
        return [
            Error(
                "ENCRYPTION_KEYS holds what is no key.",
                hint="Each is 32 random bytes in URL-safe base64, as cryptography's Fernet.generate_key() makes.",
                id="affidavit.E005",
            )
        ]
    return []


@register
def check_webhook_networks(**_: Any) -> list[CheckMessage]:
    """Networks are written with their own address: 10.1.2.3/16 leaves open what was meant."""
    found: list[CheckMessage] = []
    for network in settings.WEBHOOK_ALLOWED_NETWORKS:
        try:
            ip_network(network)
        except ValueError as error:
            hint = "Networks look like 10.1.0.0/16 or fd00::/8."
            found.append(
                Error(f"WEBHOOK_ALLOWED_NETWORKS holds {network!r}: {error}.", hint=hint, id="affidavit.E006")
            )
    return found


@register
def check_problem_email(**_: Any) -> list[CheckMessage]:
    """Whom to tell of problems, and as whom."""
    found: list[CheckMessage] = []
    asked = [("PROBLEM_EMAIL_TO", address) for address in settings.PROBLEM_EMAIL_TO]
    for name, address in [*asked, ("PROBLEM_EMAIL_FROM", settings.PROBLEM_EMAIL_FROM)]:
        try:
            validate_email(parseaddr(address)[1])
        except ValidationError:
            hint = "Addresses look like ops@example.com; those of PROBLEM_EMAIL_TO are parted by commas."
            found.append(
                Error(f"{name} holds {address!r}, which is no address.", hint=hint, id="affidavit.E007")
            )
    return found


@register(deploy=True)
def check_problem_email_is_sent(**_: Any) -> list[CheckMessage]:
    if not settings.PROBLEM_EMAIL_TO or not settings.EMAIL_BACKEND.endswith(".console.EmailBackend"):
        return []
    return [
        Warning(
            "E-mail about problems is printed to the log of a cluster, and sent to nobody.",
            hint="Set EMAIL_URL, like smtp+tls://user:password@mail.example.com:587, or unset PROBLEM_EMAIL_TO.",
            id="affidavit.W003",
        )
    ]


@register(deploy=True)
def check_mock(**_: Any) -> list[CheckMessage]:
    if not settings.MINIAPP_MOCK_OBEYS:
        return []
    return [
        Warning(
            "The callers of /miniapp-gen-mock may ask it to fail and to wait.",
            hint="Unset MINIAPP_MOCK_OBEYS.",
            id="affidavit.W002",
        )
    ]


@register(deploy=True)
def check_embedded_server(**_: Any) -> list[CheckMessage]:
    if not settings.IS_EMBEDDED:
        return []
    return [
        Warning(
            "The embedded PostgreSQL server is meant for development and small installations.",
            hint="Set DATABASE_URL.",
            id="affidavit.W001",
        )
    ]
