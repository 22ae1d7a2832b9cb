"""Masked values on pages of records, and how somebody who may gets to see them: once, and with a reason."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from jobs.admin.access.scoping import ScopedAdmin
from jobs.hygiene.masking import mask, mask_text
from jobs.queue.outcomes import UNSTORABLE
from jobs.services.audit import REASON_MAX, Actor, record_audit

RIGHT = "jobs.reveal_payloads"


def shown(request: HttpRequest, value: Any) -> Any:
    """A JSON value as this account is shown it: with masks, unless this very request has revealed what is below them."""
    if is_revealed(request):
        return value
    masked = mask(value, settings.MASKED_FIELDS)
    if masked != value:
        request._has_masks = True  # type: ignore[attr-defined]
    return masked


def shown_text(request: HttpRequest, text: str) -> str:
    """The same of a text that may be, or begin as, that of JSON."""
    if is_revealed(request):
        return text
    masked = mask_text(text, settings.MASKED_FIELDS)
    if masked != text:
        request._has_masks = True  # type: ignore[attr-defined]
    return masked


def is_revealed(request: HttpRequest) -> bool:
    """Whether this request is one that has given its reason."""
    return bool(getattr(request, "_is_revealed", False))


def may_reveal(request: HttpRequest) -> bool:
    """Whether this account may see what is masked."""
    return request.user.has_perm(RIGHT)


def reason_of(request: HttpRequest) -> str:
    """The reason that a form gives, as it can be stored."""
    return UNSTORABLE.sub("\ufffd", request.POST.get("reason", "")).strip()[:REASON_MAX]


class RevealingAdmin(ScopedAdmin):
    """Records whose pages mask what is sensitive. A POST with a reason answers such a page once as it is.

    A GET never does, and no answer that does is kept by anybody.
    """

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method == "POST" and "reveal" in request.POST:
            return self._reveal(request, object_id, form_url, extra_context)
        response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return response

    def _reveal(
        self, request: HttpRequest, object_id: str, form_url: str, extra_context: dict[str, Any] | None
    ) -> HttpResponse:
        record = self.get_object(request, unquote(object_id))
        if record is None:
            raise Http404
        if not (self.has_view_or_change_permission(request, record) and may_reveal(request)):
            raise PermissionDenied
        reason = reason_of(request)
        if not reason:
            self.message_user(request, "Say why the masked values are to be shown.", messages.WARNING)
            return HttpResponseRedirect(request.path)
        with transaction.atomic():
            record_audit(Actor.of_request(request), "reveal", record, reason=reason)
        request._is_revealed = True  # type: ignore[attr-defined]
        request.method = "GET"  # from here on it is the page that is asked for, not a form that would save
        response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        response["Cache-Control"] = "no-store"
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        has_masks = bool(getattr(request, "_has_masks", False))
        context["is_revealed"] = is_revealed(request)
        context["may_reveal"] = has_masks and may_reveal(request)
        response: HttpResponse = super().render_change_form(request, context, *args, **options)
        return response
