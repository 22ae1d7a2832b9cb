"""Notes in the audit log what no form and no verb does: logins, refusals, changes of one's own password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from config.admin import action_refused, password_changed
from jobs.hygiene.masking import MASK
from jobs.queue.outcomes import UNSTORABLE
from jobs.services.audit import Actor, record_audit
from jobs.tenancy.restriction import restriction_of

NAME_MAX = 150


def listen() -> None:
    """Hear of all of them; called by the app's config."""
    user_logged_in.connect(note_login, dispatch_uid="audit")
    user_logged_out.connect(note_logout, dispatch_uid="audit")
    user_login_failed.connect(note_failed_login, dispatch_uid="audit")
    action_refused.connect(note_refusal, dispatch_uid="audit")
    password_changed.connect(note_password, dispatch_uid="audit")


def note_login(sender: Any, request: HttpRequest | None, user: User, **_: Any) -> None:
    if _is_asked_for(request):
        record_audit(_actor(request, user), "log in", tenant_id=restriction_of(user))


def note_logout(sender: Any, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None and _is_asked_for(request):
        record_audit(_actor(request, user), "log out", tenant_id=restriction_of(user))


def note_failed_login(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    """The name that was typed, cut; whether there is such an account is not said."""
    name = UNSTORABLE.sub("\ufffd", str(credentials.get("username") or ""))[:NAME_MAX]
    record_audit(Actor(name=name, address=_address_of(request)), "log in failed", is_refused=True)


def note_refusal(sender: Any, request: HttpRequest, **_: Any) -> None:
    """What was asked for: the action of a list, or whatever the address stands for."""
    match = request.resolver_match
    asked = request.POST.get("action") or (match.url_name if match else "") or "unknown"
    tenant = restriction_of(request.user)
    record_audit(
        Actor.of_request(request),
        _word_of(asked),
        object_text=request.path,
        is_refused=True,
        tenant_id=tenant,
    )


def note_password(sender: Any, request: HttpRequest, **_: Any) -> None:
    account: Any = request.user
    record_audit(Actor.of_request(request), "change", account, after={"password": MASK})


def _word_of(asked: str) -> str:
    """Like `change` of the page jobs_job_change, or `retry jobs` of the action retry_jobs."""
    last = asked.rpartition("_")[2]
    word = last if last in ("add", "change", "delete") else asked.replace("_", " ")
    return UNSTORABLE.sub("\ufffd", word)[:60]


def _actor(request: HttpRequest | None, user: User) -> Actor:
    return Actor(name=user.get_username(), user_id=user.pk, address=_address_of(request))


def _address_of(request: HttpRequest | None) -> str | None:
    return (request.META.get("REMOTE_ADDR") or None) if request is not None else None


def _is_asked_for(request: HttpRequest | None) -> bool:
    """Whether somebody has sent it; a script that logs an account in has no request, or an empty one."""
    return request is not None and bool(request.path)
