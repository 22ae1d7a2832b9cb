"""What webhooks add to the overview: deliveries over time, and how endpoints fare."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone

from jobs.admin.access.scoping import scope_of, scoped
from jobs.admin.charts import bars
from jobs.admin.displays import badge, page_url, titled
from jobs.admin.overview.tiles import rate_of, seconds_of
from jobs.admin.sections import overview_sections
from jobs.models import Measure
from jobs.rollups.reading import Window, percentiles, series, totals
from webhooks.models import Delivery, Endpoint

ROWS = 8
DELIVERED = (("succeeded", "good"), ("failed", "bad"))


def deliveries_card(request: HttpRequest, window: Window) -> str:
    """Attempts over time, and the endpoints that fail or are sent nothing."""
    if not admin.site.get_model_admin(Delivery).has_view_or_change_permission(request):
        return ""
    points = series(scope_of(request.user), Measure.DELIVERED, window)
    may_see_endpoints = admin.site.get_model_admin(Endpoint).has_view_or_change_permission(request)
    context = {
        "window": window,
        "chart": bars(points, keys=DELIVERED, title="Deliveries"),
        "rows": _endpoints(request, window) if may_see_endpoints else None,
    }
    return render_to_string("admin/overview/deliveries.html", context)


def _endpoints(request: HttpRequest, window: Window) -> list[dict[str, Any]]:
    """Those that failed most in the window, and those that are not simply sent to."""
    scope = scope_of(request.user)
    succeeded, failed = _outcomes(scope, window)
    answered = percentiles(scope, Measure.ANSWERED, window, shares=(0.95,))
    worst = [key for key, _ in failed.most_common(ROWS)]
    troubled = Q(disabled_at__isnull=False) | Q(breaker_until__gt=timezone.now())
    found = Endpoint.objects.kept().filter(troubled | Q(failing_since__isnull=False) | Q(pk__in=worst))
    endpoints = scoped(found, request.user).select_related("tenant").defer("sealed_headers")
    by_trouble = sorted(
        endpoints.order_by("-failures")[: 4 * ROWS], key=lambda each: (-failed[str(each.pk)], -each.failures)
    )
    return [
        {
            "key": str(endpoint.pk),
            "url": page_url(endpoint),
            "title": titled(str(endpoint), endpoint.tenant.slug),
            "badge": badge(_state_of(endpoint)),
            "succeeded": f"{succeeded[str(endpoint.pk)]:,}",
            "failed": f"{failed[str(endpoint.pk)]:,}",
            "rate": rate_of(failed[str(endpoint.pk)], succeeded[str(endpoint.pk)]),
            "p95": seconds_of(answered.get(str(endpoint.pk), [None])[0]),
        }
        for endpoint in by_trouble[:ROWS]
    ]


def _outcomes(scope: UUID, window: Window) -> tuple[Counter[str], Counter[str]]:
    """How many attempts at each endpoint succeeded, and how many failed."""
    succeeded: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for (endpoint, key), count in totals(scope, Measure.DELIVERED, window).items():
        (succeeded if key == "succeeded" else failed)[endpoint] += count
    return succeeded, failed


def _state_of(endpoint: Endpoint) -> str:
    is_failing = endpoint.state == Endpoint.State.ACTIVE and endpoint.failing_since
    return "failing" if is_failing else str(endpoint.state)


overview_sections.append(deliveries_card)
