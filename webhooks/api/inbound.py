"""The three addresses at which signed calls come in."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from config.tracing import current_trace
from webhooks.api.obeying import misbehaviour_of
from webhooks.models import Receipt
from webhooks.receiving import receive
from webhooks.services.receipts import Call, Taken, take_app_notice, take_upstream_notice, take_user_notice


@csrf_exempt
def workflow_completed(request: HttpRequest) -> HttpResponse:
    """An upstream tells that a workflow ended: `{workflow_id, status?, outputs?}`."""
    return receive(request, Receipt.Path.WORKFLOW_COMPLETED, _answering(take_upstream_notice))


@csrf_exempt
def user_notified(request: HttpRequest) -> HttpResponse:
    """A client's app tells that its user knows: `{workflow_id, user_id, notified_at?, method?}`."""
    return receive(request, Receipt.Path.USER_NOTIFIED, _answering(take_user_notice))


@csrf_exempt
def miniapp(request: HttpRequest) -> HttpResponse:
    """A stand-in for a client's app: takes what we send, or `{workflow_id, user_id}`, and calls back."""

    def act(call: Call) -> HttpResponse:
        wanted = misbehaviour_of(request)
        if wanted is None:
            return _answer(take_app_notice(call))
        wanted.wait()
        # A call that is to fail leaves nothing, as in an app that broke before it stored anything.
        return wanted.answer() if wanted.is_failure else wanted.dress(_answer(take_app_notice(call)))

    return receive(request, Receipt.Path.MINIAPP, act)


def _answering(take: Callable[[Call], Taken]) -> Callable[[Call], HttpResponse]:
    return lambda call: _answer(take(call))


def _answer(taken: Taken) -> JsonResponse:
    receipt = taken.receipt
    return JsonResponse(
        {
            "receipt_id": str(receipt.pk),
            "state": receipt.state,
            "reason": receipt.reason,
            "is_duplicate": taken.is_duplicate,
            "workflow_id": receipt.workflow_name or None,
            "trace_id": current_trace().trace_id,
        }
    )
