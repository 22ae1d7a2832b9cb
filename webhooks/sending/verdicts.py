"""What the answer of an endpoint means for a delivery, and when it is tried again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from jobs.http import Answer, HttpFailure
from webhooks.models import Delivery, Reason
from webhooks.schedule import ATTEMPTS, SCHEDULE

RETRY_AFTER_SECONDS_MAX = 10 * 3_600
# Who did not answer in time, or asked for less, is not asked again within seconds.
OVERLOADED_SECONDS = 60.0

SECONDS = re.compile(r"[0-9]{1,9}")
OUR_FAULT_SECONDS = 60.0
OUR_FAULTS = {Reason.INTERNAL_ERROR, Reason.UNREADABLE}
TERMINAL = {Reason.GONE, Reason.URL_REFUSED, Reason.ADDRESS_REFUSED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a delivery: `delivered`, `failed`, or `pending` again after `delay_seconds`."""

    status: str
    reason: str = ""
    detail: str = ""
    delay_seconds: float = 0.0

    @property
    def is_our_fault(self) -> bool:
        return self.reason in OUR_FAULTS


def judge(reply: Answer | HttpFailure, *, step: int, is_manual: bool, now: datetime) -> Verdict:
    """Judge the `step`-th attempt (from 1) of a schedule; one made by hand is never made again.

    An attempt that failed by our own fault is made again every minute, and costs no step.
    """
    reason, detail = _reason_of(reply)
    if not reason:
        return Verdict(status=Delivery.Status.DELIVERED)
    if reason in OUR_FAULTS and not is_manual:
        return Verdict(
            status=Delivery.Status.PENDING, reason=reason, detail=detail, delay_seconds=OUR_FAULT_SECONDS
        )
    if is_manual or reason in TERMINAL or step >= ATTEMPTS:
        return Verdict(status=Delivery.Status.FAILED, reason=reason, detail=detail)
    delay = SCHEDULE.delay_after(step)
    if isinstance(reply, Answer):
        delay = max(delay, _asked_for(reply, now))
    elif reason in (Reason.TIMED_OUT, Reason.CONNECT_TIMEOUT):
        delay = max(delay, OVERLOADED_SECONDS)
    return Verdict(status=Delivery.Status.PENDING, reason=reason, detail=detail, delay_seconds=delay)


def _reason_of(reply: Answer | HttpFailure) -> tuple[str, str]:
    if isinstance(reply, HttpFailure):
        return reply.code, reply.detail
    if 200 <= reply.status < 300:
        return "", ""
    if reply.status == HTTPStatus.GONE:
        return Reason.GONE, "The endpoint answered 410: it wants no more."
    if 300 <= reply.status < 400:
        return Reason.REDIRECTED, f"The endpoint answered {reply.status}; redirects are not followed."
    return Reason.HTTP_STATUS, f"The endpoint answered {reply.status}."


def _asked_for(answer: Answer, now: datetime) -> float:
    """How long an overloaded endpoint asks to be left alone, within reason."""
    if answer.status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return 0.0
    least = OVERLOADED_SECONDS if answer.status == HTTPStatus.TOO_MANY_REQUESTS else 0.0
    wanted = next((value for name, value in answer.headers if name.lower() == "retry-after"), "")
    return max(least, min(_seconds(wanted.strip(), now), RETRY_AFTER_SECONDS_MAX))


def _seconds(retry_after: str, now: datetime) -> float:
    """`Retry-After` in seconds from now, given as such or as an HTTP date; 0 for anything else."""
    if SECONDS.fullmatch(retry_after):
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max((at - now).total_seconds(), 0.0)
    except (ValueError, OverflowError):  # no date, or none that there is
        return 0.0
