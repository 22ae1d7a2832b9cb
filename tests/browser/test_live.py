"""Parts of pages stay up to date by themselves, and leave the reader's focus and scrolling alone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from jobs.models import Queue, Tenant
from jobs.rollups.folding import sample_queues
from jobs.services.queues import ensure_queues
from tests.browser.conftest import Walker
from tests.factories import make_job, make_superuser, make_tenant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASSWORD = "correct horse"
SOON = 15_000  # a look every 5 seconds, on a busy machine
RUNNING = '[data-key="running"] strong'


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    ensure_queues()
    tenant = make_tenant("acme")
    make_job(tenant, status="running")
    sample_queues()
    return tenant


@pytest.fixture
def overview(walker: Walker, tenant: Tenant) -> Page:
    """The overview of somebody who may do everything."""
    make_superuser("root")
    walker.log_in("root", PASSWORD)
    expect(walker.page.locator("[data-live-word]")).to_have_text("live")
    return walker.page


def run_another(tenant: Tenant, **fields: Any) -> None:
    make_job(tenant, status="running", **fields)
    sample_queues()


def test_figures_follow_what_happens_and_the_reader_stays_where_he_was(
    overview: Page, tenant: Tenant
) -> None:
    expect(overview.locator(RUNNING)).to_have_text("1")
    pause = overview.get_by_label("Pause default", exact=True)
    pause.focus()

    run_another(tenant, service_required="artgen")  # a row more, above and below

    expect(overview.locator(RUNNING)).to_have_text("2", timeout=SOON)
    expect(overview.locator('[data-key="service-artgen"]')).to_have_count(1)
    expect(pause).to_be_focused()


def test_a_reader_stops_and_starts_them(overview: Page, tenant: Tenant) -> None:
    overview.locator("[data-live-toggle]").click()
    run_another(tenant)
    overview.wait_for_timeout(7_000)
    held = overview.locator(RUNNING).inner_text()
    word = overview.locator("[data-live-word]").inner_text()

    overview.locator("[data-live-toggle]").click()

    assert (held, word) == ("1", "paused")
    expect(overview.locator(RUNNING)).to_have_text("2", timeout=SOON)


def test_where_nobody_answers_it_says_so_and_tries_again(
    overview: Page, walker: Walker, tenant: Tenant
) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=503, body="busy")

    overview.route("**/overview/figures/**", refuse)
    expect(overview.locator("[data-live-word]")).to_have_text("offline – retrying", timeout=SOON)
    assert overview.locator(RUNNING).inner_text() == "1"  # what was shown stays

    overview.unroute("**/overview/figures/**")
    run_another(tenant)

    expect(overview.locator(RUNNING)).to_have_text("2", timeout=2 * SOON)
    expect(overview.locator("[data-live-word]")).to_have_text("live")
    walker.problems.clear()  # the console speaks of the 503


def test_who_is_logged_out_is_led_to_the_login(overview: Page, walker: Walker) -> None:
    overview.context.clear_cookies()

    overview.wait_for_url(f"{walker.server}/admin/login/**", timeout=SOON)


def test_a_queue_is_paused_with_a_click_and_seen_paused(overview: Page, tenant: Tenant) -> None:
    overview.get_by_label("Pause default", exact=True).click()

    expect(overview.get_by_label("Resume default", exact=True)).to_be_visible()
    assert Queue.objects.get(name="default").paused_by == "root"
