"""Edit and retry: a job runs again with another payload, of which a person has seen the difference first."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import ParseError

from jobs.admin.access.revealing import reason_of
from jobs.admin.displays import page_url
from jobs.admin.units.diffs import DiffLine, diff_of, mask_changes
from jobs.api.parsers import parse_json
from jobs.errors import DomainError
from jobs.hygiene.masking import MASK, is_pair, mask, unmask
from jobs.models import Job
from jobs.services.audit import Actor, record_audit
from jobs.services.jobs import retry_job

EDITABLE = (Job.Status.FAILED, Job.Status.CANCELLED)
# What a form may send in all, less its other fields; every line end of a text area travels as two bytes.
TEXT_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE - 16_384
MISPLACED = (
    f"Hidden values ({MASK}) can't be put back into items of a list that were changed, moved, added or removed. "
    "Type those values in full."
)
UNKNOWN = f"There is a {MASK} where nothing is hidden. Type the value in full."
CHANGED = (
    "The job has changed since this page was opened. Look at what it is now; what you typed is kept below."
)


class Refused(Exception):
    """What was typed can't be taken, with what to tell."""

    def __init__(self, detail: str, line: int = 0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.line = line  # of the text, where it is known


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What a person has asked for."""

    text: str
    reason: str
    state: str  # of the job, when he was shown it
    step: str  # "edit", "preview" or "confirm"

    @classmethod
    def of_request(cls, request: HttpRequest) -> Edit:
        asked = request.POST
        text = asked.get("payload", "").replace("\r\n", "\n")
        return cls(
            text=text, reason=reason_of(request), state=asked.get("state", ""), step=asked.get("step", "")
        )


def edit_and_retry(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    """Ask for a payload, show what it changes, and queue the job again with it."""
    job = model_admin.get_object(request, unquote(object_id))
    if job is None:
        raise Http404
    if not model_admin.has_operate_permission(request, job):
        raise PermissionDenied
    if job.status not in EDITABLE:
        text = f"The job is {job.status}; only a failed or cancelled job is edited."
        model_admin.message_user(request, text, messages.WARNING)
        return HttpResponseRedirect(page_url(job))
    if request.method != "POST":
        edit = Edit(text=text_of(job.payload), reason="", state=state_of(job), step="edit")
        return _form(model_admin, request, job, edit)
    return _take(model_admin, request, job, Edit.of_request(request))


def _take(model_admin: Any, request: HttpRequest, job: Job, edit: Edit) -> HttpResponse:
    try:
        if edit.step == "edit":
            return _form(model_admin, request, job, edit)
        payload = payload_of(edit.text, job.payload)
        if not edit.reason:
            raise Refused("Say why it is retried with another payload.")
        if edit.state != state_of(job):
            raise Refused(CHANGED)
        if edit.step != "confirm":
            return _preview(model_admin, request, job, edit, payload)
        _retry(request, job, payload, edit)
    except (Refused, DomainError) as refusal:
        return _form(model_admin, request, job, edit, refusal)
    except Job.DoesNotExist:
        raise Http404 from None
    model_admin.message_user(request, "The job is queued again with the edited payload.", messages.SUCCESS)
    return HttpResponseRedirect(page_url(job))


def _retry(request: HttpRequest, job: Job, payload: dict[str, Any], edit: Edit) -> None:
    """Queue it again unless it has changed meanwhile; in the audit log both payloads have their masks."""
    with transaction.atomic():
        locked = Job.objects.select_for_update(of=("self",)).get(pk=job.pk) if not job.workflow_id else job
        if state_of(locked) != edit.state:
            raise Refused(CHANGED)
        status = locked.status
        before, after = mask_changes(job.payload, payload, settings.MASKED_FIELDS)
        retried = retry_job(job, by=request.user.get_username(), reason=edit.reason, payload=payload)
        record_audit(
            Actor.of_request(request),
            "edit and retry",
            retried,
            before={"payload": before, "status": status},
            after={"payload": after, "status": retried.status},
            reason=edit.reason,
            outcome="queued again",
        )


def text_of(payload: Any) -> str:
    """A payload as it is edited: indented and masked; on one line where it would be too long otherwise."""
    masked = mask(payload, settings.MASKED_FIELDS)
    text = json.dumps(masked, indent=2, ensure_ascii=False)
    is_small = len(text.encode()) + text.count("\n") <= TEXT_BYTES
    return text if is_small else json.dumps(masked, ensure_ascii=False, separators=(",", ":"))


def payload_of(text: str, original: Any) -> dict[str, Any]:
    """The payload that is meant, with what the masks stand for. Raises Refused and InvalidInput."""
    edited = _parse(text)
    if not isinstance(edited, dict):
        raise Refused("A payload is a JSON object: it begins with { and ends with }.")
    if _are_masks_misplaced(edited, original):
        raise Refused(MISPLACED)
    payload = unmask(edited, original, settings.MASKED_FIELDS)
    if _count(payload) > _count(original):
        raise Refused(UNKNOWN)
    assert isinstance(payload, dict)
    return payload


def _parse(text: str) -> Any:
    body = text.encode("utf-8", "surrogatepass")
    try:
        json.loads(text)  # for the place of an error; what the platform takes is stricter
        return parse_json(body)
    except json.JSONDecodeError as error:
        raise Refused(f"Line {error.lineno}, column {error.colno}: {error.msg}.", error.lineno) from error
    except RecursionError as error:
        raise Refused("It is nested too deeply.") from error
    except ValueError as error:  # Python takes integers of up to 4,300 digits
        raise Refused("It holds a number that is too long.") from error
    except ParseError as error:
        raise Refused(str(error.detail).replace("The body is not JSON: ", "")) from error


def _are_masks_misplaced(edited: Any, original: Any) -> bool:
    """Whether an item of a list that holds masks is not what it was in this place: they may be another item's."""
    if isinstance(edited, dict):
        old = original if isinstance(original, dict) else {}
        return any(_are_masks_misplaced(inner, old.get(name)) for name, inner in edited.items())
    if not isinstance(edited, list):
        return False
    was = mask(original, settings.MASKED_FIELDS) if isinstance(original, list) else []
    if not _count(edited):
        return False
    if len(edited) != len(was) or (is_pair(original, settings.MASKED_FIELDS) and MASK in edited):
        return bool(edited != was)
    return any(_count(item) and item != old for item, old in zip(edited, was, strict=True))


def _count(value: Any) -> int:
    """How many masks there are in it, whoever wrote them."""
    if isinstance(value, dict):
        return sum(map(_count, value.values()))
    if isinstance(value, list):
        return sum(map(_count, value))
    return value.count(MASK) if isinstance(value, str) else 0


def state_of(job: Job) -> str:
    """What a job was when somebody looked at it: another attempt, status or payload is another state."""
    said = json.dumps([str(job.pk), job.attempt, job.status, job.payload], sort_keys=True)
    return salted_hmac("jobs.admin.units.editing", said, algorithm="sha256").hexdigest()


def _form(
    model_admin: Any,
    request: HttpRequest,
    job: Job,
    edit: Edit,
    refusal: Refused | DomainError | None = None,
) -> HttpResponse:
    context = {
        "text": edit.text,
        "is_too_long": len(edit.text.encode("utf-8", "surrogatepass")) > TEXT_BYTES,
        "rows": min(max(edit.text.count("\n") + 2, 8), 32),
        "refusal": refusal,
        "problems": refusal.errors if isinstance(refusal, DomainError) else [],
        # After a refusal the person has been told what the job is now.
        "state": state_of(job),
        "has_masks": mask(job.payload, settings.MASKED_FIELDS) != job.payload,
        "mask": MASK,
    }
    return _page(model_admin, request, job, edit, "edit", context)


def _preview(
    model_admin: Any, request: HttpRequest, job: Job, edit: Edit, payload: dict[str, Any]
) -> HttpResponse:
    diff: list[DiffLine] = diff_of(*mask_changes(job.payload, payload, settings.MASKED_FIELDS))
    return _page(model_admin, request, job, edit, "preview", {"diff": diff, "state": edit.state})


def _page(
    model_admin: Any, request: HttpRequest, job: Job, edit: Edit, name: str, context: dict[str, Any]
) -> HttpResponse:
    shared = {
        **model_admin.admin_site.each_context(request),
        "title": f"Edit and retry {job.name}",
        "opts": model_admin.opts,
        "job": job,
        "edit": edit,
        "back": page_url(job),
    }
    response = TemplateResponse(request, f"admin/jobs/job/{name}.html", {**shared, **context})
    response["Cache-Control"] = "no-store"
    return response
