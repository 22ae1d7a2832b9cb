"""Endpoints: the verbs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from jobs.errors import DomainError, FieldProblem, InvalidInput, InvalidTransition, pointer_part
from jobs.http import OWN_HEADERS, HttpFailure, check_url
from jobs.models import Tenant
from jobs.tenancy.sealing import seal, unseal
from webhooks.events import CHOOSABLE
from webhooks.models import Endpoint
from webhooks.services.deliveries import settle_deliveries
from webhooks.services.secrets import rotate_secret

ENDPOINTS_MAX = 20  # of a tenant
HEADERS_MAX = 20
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,1000}")
# What is ours to say besides what frames the message: who signs, what is sent, whose trace it is.
OURS = re.compile(
    r"webhook-.*|x-webhook-.*|content-.*|traceparent|tracestate|x-request-id|proxy-.*|cookie", re.IGNORECASE
)


class TooManyEndpoints(DomainError):
    """The tenant has as many endpoints as it may."""

    code = "too_many_endpoints"


def create_endpoint(tenant: Tenant, *, url: str, **fields: Any) -> tuple[Endpoint, str]:
    """Add an endpoint and return it with its secret, which nothing can show again.

    `fields` are those of change_endpoint(). Speaks to the name server, so not to be called in a transaction that
    others wait for. Raises InvalidInput for a URL that nothing is sent to, an unknown type of event or a header
    that is ours, and TooManyEndpoints.
    """
    values = _checked({"url": url, **fields})
    with transaction.atomic():
        # Of two who add the last one at once the second waits here.
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if Endpoint.objects.kept().of_tenant(tenant).count() >= ENDPOINTS_MAX:
            raise TooManyEndpoints(f"A tenant has {ENDPOINTS_MAX} endpoints at most.")
        endpoint = Endpoint.objects.create(tenant=tenant, **values)
        secret = rotate_secret(endpoint)
    return endpoint, secret


def change_endpoint(endpoint: Endpoint, **fields: Any) -> Endpoint:
    """Change some of `url`, `description`, `event_types`, `headers`, `max_in_flight` and `max_per_minute`.

    Checked as when it was created; what is on its way goes to the URL that it has then. Raises InvalidInput.
    """
    values = _checked(fields)
    if not Endpoint.objects.kept().filter(pk=endpoint.pk).update(**values, updated_at=Now()):
        raise _deleted()
    endpoint.refresh_from_db()
    return endpoint


def delete_endpoint(endpoint: Endpoint) -> None:
    """Remove an endpoint: nothing more is sent to it. Its history stays as long as its messages."""
    with transaction.atomic():
        Endpoint.objects.kept().filter(pk=endpoint.pk).update(deleted_at=Now(), sealed_headers="")
        endpoint.secrets.all().delete()
    _settle_on_commit(endpoint)
    endpoint.refresh_from_db()


def pause_endpoint(endpoint: Endpoint, *, by: str) -> Endpoint:
    """Hold what is meant for an endpoint until it is resumed. Raises InvalidTransition when it is paused."""
    running = Endpoint.objects.kept().filter(pk=endpoint.pk, paused_at=None)
    if not running.update(paused_at=Now(), paused_by=by, updated_at=Now()):
        raise InvalidTransition("The endpoint is paused already.")
    _settle_on_commit(endpoint)
    endpoint.refresh_from_db()
    return endpoint


def resume_endpoint(endpoint: Endpoint) -> Endpoint:
    """Send to an endpoint again that was paused or disabled, with a clean slate.

    What was held while it was paused is sent; what was held since it was disabled waits for recover_deliveries().
    Raises InvalidTransition when it is neither.
    """
    stopped = Endpoint.objects.kept().filter(pk=endpoint.pk).exclude(paused_at=None, disabled_at=None)
    if not stopped.update(
        paused_at=None,
        paused_by="",
        disabled_at=None,
        disabled_reason="",
        failures=0,
        failing_since=None,
        breaker_trips=0,
        breaker_until=None,
        updated_at=Now(),
    ):
        raise InvalidTransition("The endpoint is neither paused nor disabled.")
    _settle_on_commit(endpoint)
    endpoint.refresh_from_db()
    return endpoint


def _settle_on_commit(endpoint: Endpoint) -> None:
    """Bring what waits into line, some at once, the others soon: the senders do that too, now and then.

    After the transaction that changes the endpoint, so that nobody who notes there how it fares waits for it.
    """
    transaction.on_commit(lambda: settle_deliveries(endpoint.pk), robust=True)


def headers_of(endpoint: Endpoint) -> list[str]:
    """The names of the headers sent along; their values are nobody's to read. Raises Unreadable."""
    return list(json.loads(unseal(endpoint.sealed_headers))) if endpoint.sealed_headers else []


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of these fields; raises InvalidInput naming each that is wrong."""
    values = dict(fields)
    problems: list[FieldProblem] = []
    if "event_types" in values:
        values["event_types"] = list(dict.fromkeys(values["event_types"]))
    unknown = [name for name in values.get("event_types", []) if name not in CHOOSABLE]
    problems += [
        FieldProblem("/event_types", "unknown_event_type", f"There is no event type {name!r} to choose.")
        for name in unknown
    ]
    if "headers" in values:
        headers = values.pop("headers")
        problems += _header_problems(headers)
        values["sealed_headers"] = seal(json.dumps(headers)) if headers else ""
    if "url" in values:
        problems += _url_problems(values["url"])
    if problems:
        raise InvalidInput("The endpoint can't be as it is wanted.", errors=problems)
    return values


def _header_problems(headers: Mapping[str, str]) -> list[FieldProblem]:
    if len(headers) > HEADERS_MAX:
        return [FieldProblem("/headers", "too_many", f"At most {HEADERS_MAX} headers are sent along.")]
    problems = []
    if len({name.lower() for name in headers}) < len(headers):
        problems.append(FieldProblem("/headers", "doubled", "Names that differ in case alone are one name."))
    for name, value in headers.items():
        pointer = f"/headers/{pointer_part(name)}"
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            problems.append(FieldProblem(pointer, "invalid", "This is no header of printable ASCII."))
        elif name.lower() in OWN_HEADERS or OURS.fullmatch(name):
            problems.append(FieldProblem(pointer, "reserved", f"{name} is the platform's to send."))
    return problems


def _url_problems(url: str) -> list[FieldProblem]:
    try:
        check_url(url)
    except HttpFailure as failure:
        return [FieldProblem("/url", failure.code, failure.detail)]
    return []


def _deleted() -> InvalidTransition:
    return InvalidTransition("The endpoint has been deleted.")
