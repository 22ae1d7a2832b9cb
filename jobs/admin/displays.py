"""What cells and fact lists show: badges, moments, spans, links, each rendered from a small template."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Model
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.models import Job

# The colour and the material icon of every word that is shown as a badge.
BADGES = {
    "waiting": ("idle", "hourglass_empty"),
    "queued": ("soon", "schedule"),
    "running": ("busy", "play_circle"),
    "completed": ("good", "check_circle"),
    "failed": ("bad", "error"),
    "cancelled": ("off", "cancel"),
    "cancelling": ("warn", "pause_circle"),
    "paused": ("warn", "pause_circle"),
    "queue paused": ("warn", "pause_circle"),
    "complete": ("good", "task_alt"),
    "filed": ("warn", "inventory_2"),
    "incomplete": ("bad", "pending"),
    "none": ("idle", "notifications_off"),
    "owed": ("soon", "notifications"),
    "delivered": ("busy", "mark_email_read"),
    "told": ("good", "how_to_reg"),
    "online": ("good", "sensors"),
    "offline": ("off", "sensors_off"),
    "beating": ("good", "ecg_heart"),
    "silent": ("bad", "heart_broken"),
    "usable": ("good", "lock_open"),
    "revoked": ("off", "block"),
    "expired": ("warn", "timer_off"),
    "tenant inactive": ("off", "domain_disabled"),
    "intact": ("good", "verified"),
    "altered": ("bad", "gpp_bad"),
    "active": ("good", "check_circle"),
    "inactive": ("off", "block"),
    "pending": ("soon", "schedule_send"),
    "sending": ("busy", "send"),
    "held": ("warn", "front_hand"),
    "by hand": ("idle", "touch_app"),
    "unknown": ("warn", "question_mark"),
    "resting": ("warn", "bedtime"),
    "failing": ("bad", "trending_down"),
    "disabled": ("bad", "power_off"),
    "deleted": ("off", "delete"),
    "applied": ("good", "done_all"),
    "ignored": ("idle", "do_not_disturb_on"),
    "refused": ("bad", "gpp_bad"),
    "done": ("good", "check"),
    "current": ("good", "key"),
    "expiring": ("warn", "timer"),
    "awaiting review": ("warn", "rate_review"),
    "approved": ("good", "thumb_up"),
    "rejected": ("bad", "thumb_down"),
    "proof generation": ("busy", "function"),
    "proof publishing": ("busy", "publish"),
    "skipped": ("warn", "skip_next"),
    "not yet": ("idle", "more_horiz"),
    "not reached": ("off", "block"),
    "mined": ("good", "check_circle"),
    "reverted": ("bad", "undo"),
    "dropped": ("off", "layers_clear"),
    "aborted": ("off", "stop_circle"),
    "aborting": ("warn", "pause_circle"),
    "oldest due": ("soon", "hourglass_top"),
    "failure rate": ("idle", "percent"),
    "p95 wait": ("idle", "hourglass_empty"),
    "p95 run": ("idle", "timer"),
    "unserved": ("bad", "person_off"),
    "late": ("warn", "schedule"),
}
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


@functools.lru_cache(maxsize=1_000)  # a list shows the same few words over and over
def badge(word: str) -> SafeString:
    """A status as a coloured word with an icon: never colour alone."""
    tone, icon = BADGES.get(word, ("idle", "help"))
    return render_to_string("admin/cells/badge.html", {"word": word, "tone": tone, "icon": icon})


def words(items: Iterable[str]) -> SafeString:
    """Short words, each in a frame: scopes, services."""
    return render_to_string("admin/cells/words.html", {"words": list(items)})


def moment(at: datetime | None) -> SafeString | None:
    """How long ago something was, or will be; the exact time on hover."""
    if at is None:
        return None
    away = at - timezone.now()
    text = f"in {_rough(away)}" if away > timedelta(0) else f"{_rough(-away)} ago"
    return render_to_string("admin/cells/moment.html", {"at": at, "text": text})


def _rough(length: timedelta) -> str:
    """A length of time in its largest unit alone."""
    seconds = int(length.total_seconds())
    size, unit = next((pair for pair in UNITS if seconds >= pair[0]), UNITS[-1])
    return f"{seconds // size} {unit}"


def span(length: timedelta) -> str:
    """A length of time in its largest unit, below ten of it in two: 12 d, 2 h 5 min, 0.3 s."""
    seconds = length.total_seconds()
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    index = next(i for i, (size, _) in enumerate(UNITS) if seconds >= size)
    size, unit = UNITS[index]
    count, rest = divmod(int(seconds), size)
    if count >= 10 or index + 1 == len(UNITS):
        return f"{count} {unit}"
    smaller, smaller_unit = UNITS[index + 1]
    return f"{count} {unit} {rest // smaller} {smaller_unit}" if rest >= smaller else f"{count} {unit}"


def link(row: Model | None, text: str = "") -> SafeString | None:
    """A link to a record's page."""
    return None if row is None else anchor(page_url(row), text or str(row))


def anchor(url: str, text: str) -> SafeString:
    """A link to any page of the monitor."""
    return render_to_string("admin/cells/link.html", {"url": url, "text": text})


def titled(title: str, note: str) -> SafeString:
    """What a row is, and its id below in small."""
    return render_to_string("admin/cells/titled.html", {"title": title, "note": note})


def noted(cell: SafeString, note: str) -> SafeString:
    """A cell, and what there is to say of it below in small."""
    return render_to_string("admin/cells/noted.html", {"cell": cell, "note": note}) if note else cell


def copyable(text: str, *, shown: str = "") -> SafeString | None:
    """An id in full, or as `shown` where there is no room for it, with a button that copies it."""
    return render_to_string("admin/cells/copyable.html", {"text": text, "shown": shown}) if text else None


def page_url(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def duration_of(job: Job) -> timedelta | None:
    """How long a job's last attempt took, or has taken so far; None where none has begun, or it is not known."""
    end = timezone.now() if job.status == Job.Status.RUNNING else job.ended_at
    if job.started_at is None or end is None:
        return None
    return max(end - job.started_at, timedelta(0))
