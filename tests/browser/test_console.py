"""A real browser runs a proof session on a platform of its own, and watches it through a reload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Walker
from tests.faults.conftest import Platform, migrated, platform

pytestmark = pytest.mark.browser
__all__ = ["migrated", "platform"]  # the fixtures; pytest finds them here

PASSWORD = "correct horse"
RUN_SECONDS = 210  # as long as the three phases may take
TOLD = """
    SELECT type, data FROM jobs_event WHERE type IN ('status', 'log') ORDER BY id
"""


@pytest.fixture
def walker(platform: Platform, chromium: Browser) -> Iterator[Walker]:  # noqa: F811
    """A browser that is logged in to a platform with a tenant and a local chain."""
    platform.env |= {"LOCAL_CHAIN": "true", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    url = platform.start_up()
    platform.manage("create_tenant", "acme")
    platform.manage("createsuperuser", "--noinput", "--username=operator", "--email=o@acme.example")
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    walker = Walker(context.new_page(), url)
    walker.log_in("operator", PASSWORD)
    yield walker
    context.close()


def lines_on(walker: Walker) -> list[str]:
    lines: list[str] = walker.page.locator("[data-log] pre").all_inner_texts()
    return lines


def wait_for_line(walker: Walker, count: int) -> None:
    """Wait until the log has so many lines, while the session still runs."""
    walker.page.wait_for_function(
        "count => document.querySelectorAll('[data-log] li').length >= count",
        arg=count,
        timeout=RUN_SECONDS * 1_000,
    )
    assert walker.page.inner_text("[data-watching]") == "live"


def told(platform: Platform) -> list[str]:  # noqa: F811
    """What the only session has told, as its log shows it."""
    rows: list[dict[str, Any]] = platform.query(TOLD)
    return [row["data"]["step"] if row["type"] == "status" else row["data"]["lines"][0] for row in rows]


def test_a_session_is_run_watched_live_and_resumed_by_a_reload(walker: Walker, platform: Platform) -> None:  # noqa: F811
    page = walker.page
    walker.visit("/admin/attestations/proofsession/add/")
    page.click("button:has-text('Run')")
    page.wait_for_selector("[data-watching]:has-text('live')")

    begun = len(lines_on(walker))
    wait_for_line(walker, begun + 3)
    before = lines_on(walker)
    page.reload()
    page.wait_for_selector("[data-watching]:has-text('live')")
    resumed = lines_on(walker)
    wait_for_line(walker, len(resumed) + 3)
    page.wait_for_selector("[data-watching]:has-text('ended')", timeout=RUN_SECONDS * 1_000)
    page.wait_for_selector("[data-region=badges] :text('completed')")

    lines = lines_on(walker)
    assert resumed[: len(before)] == before
    assert lines[: len(resumed)] == resumed
    assert lines == told(platform)
    assert page.inner_text("[data-phase]") == "Complete"
    assert page.inner_text("[data-percent]") == "100 %"
    assert page.locator("[data-region=transactions] tbody tr:has-text('mined')").count() == 3
    assert page.locator("[data-region=results] tbody tr").count() == 3
    assert walker.overflow() <= 0
    assert walker.problems == []
