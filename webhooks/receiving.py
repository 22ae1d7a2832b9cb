"""Calls that come in: read as bytes, verified, only then parsed, answered; whatever is wrong is a problem.

In the plain form a call has `x-webhook-signature`, in the standard one `webhook-id`, `webhook-timestamp` and
`webhook-signature`. It may come in both: then both must be right, and the same sender's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.renderers import JSONRenderer

from config.problems import problem_answer
from config.tracing import bind_fields
from jobs.api.errors import problem_response
from jobs.api.parsers import BodyTooLarge, parse_json, read_body
from jobs.errors import DomainError, InvalidInput
from webhooks.models import Receipt, Sender
from webhooks.services.receipts import Call, Incoming, take_refusal
from webhooks.services.senders import live_senders
from webhooks.signatures import make_secret, matches_plain, matches_standard

PLAIN = "x-webhook-signature"
STANDARD = ("webhook-id", "webhook-timestamp", "webhook-signature")
# What a receipt keeps of a call's headers: nothing that proves who sent it.
KEPT_HEADERS = (
    "content-type",
    "content-length",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "webhook-attempt",
    "x-request-id",
    "traceparent",
)
HEADER_KEPT_CHARACTERS = 500
ADDRESS_KEPT_CHARACTERS = 60

# What a call is checked against where there is no sender it could be from: it takes as long as with one.
NOBODYS_SECRET = make_secret()


class SignatureInvalid(DomainError):
    """The call is not signed, or not as a sender of ours signs; which check failed is told to nobody."""

    code = "signature_invalid"
    status = 401


def receive(request: HttpRequest, path: Receipt.Path, act: Callable[[Call], HttpResponse]) -> HttpResponse:
    """Answer a call with what `act` makes of it, or with a problem; what is refused leaves a receipt."""
    if request.method != "POST":
        answer = problem_answer(405, "method_not_allowed")
        answer["Allow"] = "POST"
        return answer
    try:
        return _received(request, path, act)
    except Exception as error:
        # As the API translates it; what nobody foresaw is raised on.
        problem = problem_response(error, {})
        if problem is None:
            raise
        return _rendered(problem)


def _rendered(problem: Any) -> HttpResponse:
    """An answer of the REST framework outside its views, which would have told it how to be rendered."""
    problem.accepted_renderer, problem.accepted_media_type = JSONRenderer(), "application/json"
    problem.renderer_context = {}
    return cast(HttpResponse, problem.render())


def _received(request: HttpRequest, path: Receipt.Path, act: Callable[[Call], HttpResponse]) -> HttpResponse:
    incoming = _read(request, path)
    try:
        return act(_accept(request, incoming))
    except (DomainError, APIException) as error:
        take_refusal(incoming, str(error.code if isinstance(error, DomainError) else error.get_codes()))
        raise


def _read(request: HttpRequest, path: Receipt.Path) -> Incoming:
    """Read a call's bytes, and no more of them than are allowed."""
    body: bytes | None
    try:
        body = read_body(request, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    except BodyTooLarge:
        body = None
    except (UnreadablePostError, ValueError) as error:
        raise ParseError("The body ended too early, or has a length that is no number.") from error
    return Incoming(
        path=path,
        body=body,
        size=int(request.headers.get("content-length") or 0) if body is None else len(body),
        headers=_kept(request.headers),
        remote_address=request.META.get("REMOTE_ADDR", "")[:ADDRESS_KEPT_CHARACTERS],
    )


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    found = {name: headers[name][:HEADER_KEPT_CHARACTERS] for name in KEPT_HEADERS if headers.get(name)}
    # jsonb keeps no NUL and no half of a surrogate pair.
    return {
        name: value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
        for name, value in found.items()
    }


def _accept(request: HttpRequest, incoming: Incoming) -> Call:
    """Verify a call, then parse it. Raises the DomainError or APIException that says what is wrong."""
    if incoming.body is None:
        raise BodyTooLarge(f"A body may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes.")
    sender = _verified(request.headers, incoming.body, request.GET.get("sender"))
    if sender is None:
        raise SignatureInvalid("The signature is missing or wrong.")
    bind_fields(tenantId=str(sender.tenant_id), actorId=f"sender:{sender.name}")
    if request.content_type != "application/json":
        raise UnsupportedMediaType(request.content_type or "")
    content = parse_json(incoming.body)
    if not isinstance(content, dict):
        raise InvalidInput.at("", "not_an_object", "The body must be a JSON object.")
    # An id that is there was signed: each form that a call has is verified.
    webhook_id = request.headers.get("webhook-id", "")
    return Call(incoming=incoming, sender=sender, webhook_id=webhook_id, content=content)


def _verified(headers: Mapping[str, str], body: bytes, sender_id: str | None) -> Sender | None:
    """Whose call this is, or None. Every secret is tried in every form, whichever matches."""
    found = None
    nobody: list[tuple[Sender | None, list[str]]] = [(None, [NOBODYS_SECRET])]
    for sender, secrets in live_senders(sender_id) or nobody:
        if _is_signed(headers, body, secrets) and found is None:
            found = sender
    return found


def _is_signed(headers: Mapping[str, str], body: bytes, secrets: list[str]) -> bool:
    """Whether a call is signed with one of `secrets` in every form that it has, and it has one."""
    forms: list[Any] = []
    if PLAIN in headers:
        forms.append(matches_plain(headers[PLAIN], secrets, body))
    if any(name in headers for name in STANDARD):
        webhook_id, timestamp, signature = (headers.get(name, "") for name in STANDARD)
        forms.append(matches_standard(signature, webhook_id, timestamp, secrets, body, now=time.time()))
    return bool(forms) and all(form is not None for form in forms)
