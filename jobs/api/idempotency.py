"""`Idempotency-Key`: a POST that is sent twice creates once, and is answered the same both times.

After the IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header).
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import HttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.errors import IdempotencyKeyInvalid
from jobs.models import ApiKey, IdempotencyKey
from jobs.services.idempotency import find_answer, lock_key
from jobs.tenancy.sealing import seal, unseal

HEADER = "Idempotency-Key"
KEY = re.compile(r"[ -~]{1,255}")


def idempotent(post: Callable[..., Response]) -> Callable[..., Any]:
    """Make a view's `post` answer a request it has answered before from what is stored.

    One transaction holds the key, what `post` does and its answer. A refused request is rolled back with
    its key, which stays free for the corrected one. Without the header nothing is different. What a view with
    `answers_with_secret` answers is stored sealed.
    """

    @functools.wraps(post)
    def answer(self: Any, request: Request, **kwargs: Any) -> HttpResponse:
        key = request.headers.get(HEADER)
        if key is None:
            return post(self, request, **kwargs)
        if not KEY.fullmatch(key):
            raise IdempotencyKeyInvalid(f"{HEADER} has 1 to 255 printable ASCII characters.")
        assert isinstance(request.auth, ApiKey)
        is_secret = getattr(self, "answers_with_secret", False)
        tenant_id, fingerprint = request.auth.tenant_id, _fingerprint(request)
        with transaction.atomic():
            lock_key(tenant_id, key)
            stored = find_answer(tenant_id, key, fingerprint)
            if stored is not None:
                body = unseal(stored.body) if is_secret else stored.body
                return _answer(stored, body, **{"Idempotent-Replayed": "true"})
            response = post(self, request, **kwargs)
            body = JSONRenderer().render(response.data).decode()
            stored = IdempotencyKey.objects.create(
                tenant_id=tenant_id,
                key=key,
                fingerprint=fingerprint,
                status=response.status_code,
                location=response.get("Location", ""),
                body=seal(body) if is_secret else body,
            )
        return _answer(stored, body)

    answer.is_idempotent = True  # type: ignore[attr-defined]  # read by schema.py
    return answer


def _fingerprint(request: Request) -> str:
    """SHA-256 over what was asked. Reads the body, which `request.data` can't give back once it has it."""
    django_request = request._request
    parts = [django_request.method or "", django_request.path, ""]
    return hashlib.sha256("\n".join(parts).encode() + django_request.body).hexdigest()


def _answer(stored: IdempotencyKey, body: str, **headers: str) -> HttpResponse:
    """The bytes as they were, or are to be, sent every time."""
    if stored.location:
        headers["Location"] = stored.location
    return HttpResponse(body, status=stored.status, content_type=JSONRenderer.media_type, headers=headers)
