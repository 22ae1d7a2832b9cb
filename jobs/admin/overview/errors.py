"""What fails, and why: kinds and services with their biggest errors."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID

from jobs.admin.access.scoping import scoped
from jobs.admin.displays import page_url
from jobs.admin.overview.sight import Card, Sight
from jobs.models import ErrorGroup, Job, Measure
from jobs.models.rollups import EVERYONE
from jobs.rollups.reading import totals

KINDS, ERRORS_OF_EACH = 6, 3


def errors_card(sight: Sight) -> Card:
    """The kinds and services with the most failed attempts in the window, each with what went wrong most."""
    if not sight.may_see(Job):
        return None
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for (name, fingerprint), count in totals(sight.scope, Measure.ERROR, sight.window, now=sight.now).items():
        counts[name][fingerprint] = count
    worst = sorted(counts, key=lambda name: (-sum(counts[name].values()), name))[:KINDS]
    biggest = {name: _biggest(counts[name]) for name in worst}
    groups = _groups(sight, [UUID(key) for keys in biggest.values() for key in keys])
    return {
        "rows": [
            {
                "name": name,
                "count": f"{sum(counts[name].values()):,}",
                "errors": [_row(groups[key], counts[name][key]) for key in biggest[name] if key in groups],
                "others": max(len(counts[name]) - ERRORS_OF_EACH, 0),
            }
            for name in worst
        ],
        "left_out": max(len(counts) - KINDS, 0),
        "has_tenants": sight.scope == EVERYONE,  # the same message is a group of each tenant's
    }


def _biggest(counts: dict[str, int]) -> list[str]:
    return sorted(counts, key=lambda key: (-counts[key], key))[:ERRORS_OF_EACH]


def _groups(sight: Sight, fingerprints: list[UUID]) -> dict[str, ErrorGroup]:
    if not fingerprints:
        return {}
    found = scoped(ErrorGroup.objects.filter(pk__in=fingerprints).select_related("tenant"), sight.user)
    return {str(group.pk): group for group in found}


def _row(group: ErrorGroup, count: int) -> dict[str, Any]:
    return {
        "key": str(group.pk),
        "message": group.message or group.code or "without a message",
        "tenant": group.tenant.slug if group.tenant else "platform",
        "count": f"{count:,}",
        "url": page_url(group),
    }
