"""The timeline on the page of a workflow or a job: a waterfall, and the list of what happened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse

from jobs.admin.displays import page_url, span
from jobs.admin.units.waterfall import waterfall_of
from jobs.forensics.moments import Moment
from jobs.forensics.phases import GAP_MIN, SPREAD
from jobs.forensics.timeline import Forensics, forensics_of, forensics_of_job
from jobs.models import Job, Workflow

LINES_OPEN = 14  # a longer list is folded below the waterfall
# Which types of moments ask for a permission of their own; `admin/` modules of upper floors add theirs.
timeline_permissions: dict[str, str] = {}

# The colour and the material icon of what happened; words say the same.
LOOKS = {
    "requested": ("soon", "person"),
    "queued": ("idle", "schedule"),
    "attempt_started": ("busy", "play_circle"),
    "progress": ("idle", "percent"),
    "log": ("idle", "notes"),
    "cancel_requested": ("warn", "pause_circle"),
    "cancelled": ("off", "cancel"),
    "step_ended": ("off", "block"),
    "attempt_attested": ("idle", "verified"),
    "run_attested": ("idle", "verified"),
    "retried": ("soon", "replay"),
    "retry_completed": ("good", "replay"),
    "renotified": ("soon", "notifications"),
    "message_written": ("idle", "mail"),
    "delivery_failed": ("bad", "unsubscribe"),
    "delivery_held": ("warn", "front_hand"),
    "delivery_waits": ("soon", "schedule_send"),
    "receipt": ("idle", "call_received"),
    "reminder_due": ("soon", "alarm"),
    "user_notified": ("good", "how_to_reg"),
    "upstream_ended": ("idle", "flag"),
    "evaluated": ("idle", "fact_check"),
    "attestations_expired": ("off", "auto_delete"),
    "waiting": ("soon", "hourglass_empty"),
    "submitted": ("soon", "image"),
    "reviewed": ("busy", "rate_review"),
    "transaction_signed": ("busy", "receipt_long"),
    "publishing_skipped": ("warn", "skip_next"),
}
# Of what can end well or not.
ENDS = {
    "completed": ("good", "check_circle"),
    "delivered": ("good", "mark_email_read"),
    "failed": ("bad", "error"),
    "cancelled": ("off", "cancel"),
    "unknown": ("warn", "question_mark"),
    "complete": ("good", "task_alt"),
    "filed": ("warn", "inventory_2"),
    "incomplete": ("bad", "pending"),
    "mined": ("good", "check_circle"),
    "reverted": ("bad", "undo"),
    "dropped": ("off", "layers_clear"),
    "rejected": ("bad", "thumb_down"),
}
ENDING = {
    "attempt_ended",
    "run_ended",
    "delivery_attempted",
    "evaluated",
    "transaction_ended",
    "submission_ended",
}
PHASES = {
    "queued_ms": "Queued",
    "running_ms": "Running",
    "retrying_ms": "Until another attempt",
    "between_steps_ms": "Between steps",
    "stopped_ms": "Failed, until the retry",
    "telling_ms": "Telling the user",
}


def timeline_of(request: HttpRequest, unit: Workflow | Job) -> dict[str, Any]:
    """What templates/admin/parts/timeline.html shows to this account.

    A step is shown in the waterfall of its workflow, and of the list what happened to it.
    """
    hidden = {type_ for type_, right in timeline_permissions.items() if not request.user.has_perm(right)}
    step = unit if isinstance(unit, Job) and unit.workflow else None
    if isinstance(unit, Job) and not unit.workflow:
        forensics = forensics_of_job(unit, hidden=hidden)
    else:
        workflow = unit.workflow if isinstance(unit, Job) else unit
        assert workflow
        forensics = forensics_of(workflow, hidden=hidden)
    lines = list(_lines(forensics, step.pk if step else None))
    count = sum("moment" in line for line in lines)
    return {
        "waterfall": waterfall_of(
            forensics,
            url_of=_no_url if isinstance(unit, Job) and not step else _url_of_job,
            highlighted=step.pk if step else None,
        ),
        "lines": lines,
        "is_folded": count > LINES_OPEN,
        "count": count,
        "phases": [] if step else _phases(forensics),
        "left_out": [(what.replace("_", " "), count) for what, count in forensics.left_out.items()],
        "of_workflow": step.workflow if step else None,
        "workflow_url": page_url(step.workflow) if step and step.workflow else "",
    }


def _no_url(job_id: UUID) -> str:
    return ""  # it is this very page


def _url_of_job(job_id: UUID) -> str:
    return reverse("admin:jobs_job_change", args=[job_id])


def _lines(forensics: Forensics, only: UUID | None) -> Iterator[dict[str, Any]]:
    """The moments in order, of one job where `only` names it, with the days they are of and the gaps between them."""
    awaited = {gap.end: gap.awaited for gap in forensics.gaps}
    latest: datetime = forensics.started_at
    day = None
    for moment in forensics.moments:
        if only and moment.job_id != only:
            continue
        took = _milliseconds(moment.duration_ms)
        begin = moment.at - took if moment.type in SPREAD and took else moment.at
        if begin - latest >= GAP_MIN and not only:
            yield {"gap": span(begin - latest), "awaited": awaited.get(begin, "")}
        if moment.at.date() != day:
            day = moment.at.date()
            yield {"day": moment.at}
        tone, icon = _look_of(moment)
        yield {
            "moment": moment,
            "tone": tone,
            "icon": icon,
            "since": span(moment.at - forensics.started_at),
            "took": _words_of(moment, took),
        }
        latest = max(latest, moment.at)


def _words_of(moment: Moment, took: timedelta | None) -> str:
    if took is None:
        return ""
    if moment.type in SPREAD:
        return f"over {span(took)}" if took >= GAP_MIN else ""
    return f"took {span(took)}"


def _look_of(moment: Moment) -> tuple[str, str]:
    if moment.type in ENDING:
        known = ("outcome", "status", "status_category")
        end = next((moment.data[name] for name in known if moment.data.get(name)), "")
        return ENDS.get(end, LOOKS.get(moment.type, ("idle", "circle")))
    return LOOKS.get(moment.type, ("idle", "circle"))


def _phases(forensics: Forensics) -> list[dict[str, Any]]:
    """The phases that took any time, each with its share of all of it."""
    whole = max(sum(forensics.durations.values()), 1)
    return [
        {"name": PHASES[name], "ms": ms, "of": whole, "took": span(timedelta(milliseconds=ms))}
        for name, ms in forensics.durations.items()
        if ms
    ]


def _milliseconds(count: int | None) -> timedelta | None:
    return None if count is None else timedelta(milliseconds=count)
