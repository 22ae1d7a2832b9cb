"""What operators do all day, in a real browser on a platform of its own with its clusters and a remote worker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Walker
from tests.faults.conftest import Platform, eventually, migrated, platform

pytestmark = pytest.mark.browser
__all__ = ["migrated", "platform"]  # the fixtures; pytest finds them here

PASSWORD = "correct horse"
MANY = 500
SOON = 60_000  # milliseconds


@pytest.fixture
def url(platform: Platform) -> str:  # noqa: F811
    """Where a platform listens that is up."""
    platform.env |= {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    return platform.start_up()


@pytest.fixture
def key(platform: Platform, url: str) -> str:  # noqa: F811
    """The key of a tenant of that platform, which has an operator, too."""
    platform.manage("create_tenant", "acme")
    platform.manage("createsuperuser", "--noinput", "--username=operator", "--email=o@acme.example")
    return platform.manage(
        "create_api_key", "acme", "--name", "studio", "--scopes", "submit,work,read,manage"
    )


@pytest.fixture
def api(url: str, key: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def walker(url: str, key: str, chromium: Browser) -> Iterator[Walker]:
    """A browser that is logged in to that platform."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    walker = Walker(context.new_page(), url)
    walker.log_in("operator", PASSWORD)
    yield walker
    context.close()


def submit(api: httpx.Client, path: str = "/api/jobs", **body: Any) -> Any:
    answer = api.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_failed_job_is_found_read_mended_and_seen_to_complete(
    walker: Walker,
    platform: Platform,  # noqa: F811
    api: httpx.Client,
    url: str,
    key: str,
) -> None:
    picture = {"operation": "paint", "width": 256, "height": 192, "seed": 4}
    worker = ("--url", url, "--worker-id", "art-1", "--pace", "3")
    platform.start("examples/art_worker.py", *worker, AFFIDAVIT_API_KEY=key)
    other = {**picture, "prompt": "a mountain lake at sunset", "height": 99_999}
    wrong = {**picture, "prompt": "a lighthouse in the fog", "width": 99_999}
    for payload in (wrong, other):
        job = submit(api, service_required="artgen", payload=payload)
        platform.wait_for(job["id"], "failed", within=30)
    page = walker.page

    walker.visit("/admin/jobs/job/")
    page.fill("#searchbar", 'status:failed payload.prompt:"a lighthouse in the fog"')
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tr.data-row")).to_have_count(1)
    page.click("#result_list tr.data-row th a, #result_list tr.data-row td a")
    expect(page.locator("#content")).to_contain_text("width must be")
    page.click('.afd-head a[href$="/edit/"]')
    text = page.locator("textarea[name=payload]")
    text.fill(text.input_value().replace("99999", "256"))
    page.fill("input[name=reason]", "The picture was too wide.")
    page.click("button[value=preview]")
    expect(page.locator("#content")).to_contain_text("99999")
    page.click("button[value=confirm]")
    page.wait_for_url(re.compile(r"/admin/jobs/job/[^/]+/change/"))
    page.evaluate("document.body.dataset.same = 'page'")
    expect(page.locator("[data-region=badges]").first).to_contain_text("completed", timeout=SOON)

    assert page.evaluate("document.body.dataset.same") == "page"  # nobody has loaded it anew
    page.reload()
    expect(page.locator(".afd-pictures img")).to_have_count(1)
    assert walker.overflow() <= 0
    assert walker.problems == []


def test_five_hundred_failures_are_retried_and_counted(
    walker: Walker,
    platform: Platform,  # noqa: F811
    api: httpx.Client,
) -> None:
    jobs = [{"kind": "requests.reminder", "payload": {"requestId": f"nowhere-{n}"}} for n in range(MANY)]
    answer = api.post("/api/jobs/bulk", json={"jobs": jobs})
    assert answer.status_code == 201, answer.text
    ended = "SELECT count(*) FROM jobs_job WHERE kind = 'requests.reminder' AND status = 'failed' AND attempt = %s"
    eventually(lambda: platform.query(ended, 1)[0]["count"] == MANY, within=60, what="500 failures")
    page = walker.page

    walker.visit("/admin/jobs/job/?status=failed&kind=requests.reminder")
    page.check("#action-toggle")
    page.click(".question a")
    page.select_option("select[name=action]", "retry_jobs")
    page.click("#changelist-actions button[name=index]")
    expect(page.locator("#content")).to_contain_text(f"Retry {MANY} jobs?")
    page.fill("input[name=reason]", "The requests are there now.")
    page.click("#content .afd-ask button[type=submit]")
    page.wait_for_url(re.compile("/admin/jobs/bulkoperation/"))
    expect(page.locator(".afd-operation [role=status]")).to_contain_text(
        f"{MANY} done, 0 refused of {MANY}", timeout=SOON
    )
    expect(page.locator("[data-live]")).to_contain_text("completed", timeout=SOON)

    eventually(lambda: platform.query(ended, 2)[0]["count"] == MANY, within=60, what="500 second attempts")
    audited = "SELECT count(*) FROM jobs_auditentry WHERE action = 'retry' AND NOT is_refused AND model = 'jobs.Job'"
    assert platform.query(audited)[0]["count"] == MANY
    assert walker.problems == []


def test_a_paused_queue_holds_what_is_due_until_it_is_resumed(
    walker: Walker,
    platform: Platform,  # noqa: F811
    api: httpx.Client,
) -> None:
    page = walker.page
    walker.visit("/admin/jobs/queue/")
    page.click("#result_list a:has-text('default')")

    page.fill("input[name=reason]", "The database is being moved.")
    page.click("button[value=pause_queues]")
    if page.locator("input[name=confirmed]").count():
        page.click("#content .afd-ask button[type=submit]")
    expect(page.locator("button[value=resume_queues]")).to_be_visible()
    job = submit(api, kind="system.ping", payload={})
    page.wait_for_timeout(3_000)
    held = platform.job(job["id"])
    page.click("button[value=resume_queues]")
    if page.locator("input[name=confirmed]").count():
        page.click("#content .afd-ask button[type=submit]")

    assert held["status"] == "queued"
    platform.wait_for(job["id"], "completed", within=20)
    assert walker.problems == []
