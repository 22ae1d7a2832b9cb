"""The overview: the figures of a window, whole in the index page and alone for its live part."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse

from config.admin import monitor_page
from jobs.admin.overview.errors import errors_card
from jobs.admin.overview.fleet import fleet_card, operations_card
from jobs.admin.overview.latency import latency_card
from jobs.admin.overview.queues import queues_card
from jobs.admin.overview.sight import Sight, sight_of
from jobs.admin.overview.tiles import Measured, tiles
from jobs.admin.overview.verdicts import verdicts_card
from jobs.admin.overview.warnings import warnings
from jobs.admin.overview.work import charts_card, has_work, workflows_card
from jobs.admin.sections import overview_sections
from jobs.models import ApiKey, Job, Measure, Tenant
from jobs.rollups.reading import WINDOWS, gauges, percentiles, totals

# Between two looks; the longer the window, the more there is to sum up, and the less changes.
EVERY_SECONDS = {"hour": 5, "day": 10, "week": 30}


def add_figures(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's dashboard callback: what this account may see of the window that the address names."""
    sight = sight_of(request)
    return {
        **context,
        **figures(sight),
        "window": sight.window,
        "windows": WINDOWS.values(),
        "live_url": f"{reverse('admin:overview_figures')}?window={sight.window.name}",
        "live_every": EVERY_SECONDS[sight.window.name],
    }


@monitor_page("overview/figures/", name="overview_figures")
def overview_figures(request: HttpRequest) -> HttpResponse:
    """The figures alone, for the page that shows them already."""
    return HttpResponse(render_to_string("admin/overview/figures.html", figures(sight_of(request)), request))


def figures(sight: Sight) -> dict[str, Any]:
    """What templates/admin/overview/figures.html shows: a card that this account may not see is None."""
    measured = measure(sight)
    cards = {
        "warnings": warnings(sight, measured),
        "tiles": tiles(sight, measured),
        "charts": charts_card(sight),
        "queues": queues_card(sight, measured),
        "latency": latency_card(sight, measured),
        "verdicts": verdicts_card(sight),
        "errors": errors_card(sight),
        "operations": operations_card(sight),
        "fleet": fleet_card(sight),
        "workflows": workflows_card(sight),
        "sections": [html for section in overview_sections if (html := section(sight.request, sight.window))],
    }
    return {
        **cards,
        "window": sight.window,
        "is_blind": not any(cards.values()),
        "first_steps": _first_steps(sight) if sight.may_see(Job) and not has_work(sight) else None,
    }


def measure(sight: Sight) -> Measured:
    """What several cards are made of; of jobs that the account may not see only what the queues have to do."""
    scope, window, now = sight.scope, sight.window, sight.now
    if not sight.may_see(Job):
        return Measured(ended={}, waited={}, ran={}, gauges=gauges(scope))
    return Measured(
        ended=totals(scope, Measure.ENDED, window, now=now),
        waited=percentiles(scope, Measure.WAITED, window, now=now),
        ran=percentiles(scope, Measure.RAN, window, now=now),
        gauges=gauges(scope),
    )


def _first_steps(sight: Sight) -> dict[str, Any]:
    """What to do on a fresh platform, with the pages that this account may open for it."""
    return {
        "tenants": reverse("admin:jobs_tenant_changelist") if sight.may_see(Tenant) else "",
        "keys": reverse("admin:jobs_apikey_changelist") if sight.may_see(ApiKey) else "",
    }
