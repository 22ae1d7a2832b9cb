"""The monitor by keyboard, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from jobs.models import BulkOperation, Job, Tenant
from tests.browser.conftest import Walker
from tests.factories import make_job, make_superuser, make_tenant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASSWORD = "correct horse"


@pytest.fixture
def tenant() -> Tenant:
    make_superuser("operator")
    return make_tenant("acme")


@pytest.fixture
def failed(tenant: Tenant, walker: Walker) -> list[Job]:
    """Three failed jobs, the newest first, and somebody who is logged in."""
    made = [make_job(tenant, kind="system.ping", status="failed", attempt=1) for _ in range(3)]
    walker.log_in("operator", PASSWORD)
    return made[::-1]


def path_of(job: Job) -> str:
    return f"/admin/jobs/job/{job.pk}/change/"


def at(walker: Walker) -> str:
    """The page that the row leads to at which one is."""
    address: str = walker.page.evaluate("new URL(document.activeElement.href, location.href).pathname")
    return address


def test_rows_are_walked_along_and_opened(walker: Walker, failed: list[Job]) -> None:
    walker.visit("/admin/jobs/job/")
    keys = walker.page.keyboard

    keys.press("j")
    assert at(walker) == path_of(failed[0])
    keys.press("j")
    keys.press("j")
    keys.press("j")
    assert at(walker) == path_of(failed[2])
    keys.press("k")
    assert at(walker) == path_of(failed[1])
    keys.press("o")

    walker.page.wait_for_url(f"**{path_of(failed[1])}")
    assert walker.problems == []


def test_what_is_selected_is_retried(walker: Walker, failed: list[Job]) -> None:
    walker.visit("/admin/jobs/job/")
    keys = walker.page.keyboard

    for key in "jxjx":
        keys.press(key)
    expect(walker.page.locator("input.action-select:checked")).to_have_count(2)
    keys.press("r")
    expect(walker.page.locator("#content")).to_contain_text("Retry 2 jobs?")
    walker.page.click("#content button[type=submit]")
    walker.page.wait_for_url("**/admin/jobs/bulkoperation/**")

    operation = BulkOperation.objects.get()
    assert operation.verb == "retry_jobs"
    assert set(operation.keys or []) == {str(job.pk) for job in failed[:2]}


def test_a_job_is_retried_from_its_page(walker: Walker, failed: list[Job]) -> None:
    walker.visit(path_of(failed[0]))

    walker.page.keyboard.press("r")
    expect(walker.page.locator("#content")).to_contain_text("Retry 1 job?")
    walker.page.click("#content button[type=submit]")
    walker.page.wait_for_url(f"**{path_of(failed[0])}")

    failed[0].refresh_from_db()
    assert failed[0].status == "queued"


def test_its_payload_is_edited(walker: Walker, failed: list[Job]) -> None:
    walker.visit(path_of(failed[0]))

    walker.page.keyboard.press("e")

    walker.page.wait_for_url(f"**/admin/jobs/job/{failed[0].pk}/edit/")


def test_help_says_what_the_keys_are_and_closes(walker: Walker, failed: list[Job]) -> None:
    walker.visit("/admin/")
    keys, dialog = walker.page.keyboard, walker.page.locator("#afd-keys")

    keys.press("?")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("Next row, row before")
    keys.press("j")
    for _ in range(20):
        keys.press("Tab")
        assert walker.page.evaluate(
            "document.activeElement === document.body || document.activeElement.closest('#afd-keys') !== null"
        )
    keys.press("Escape")
    expect(dialog).to_be_hidden()
    walker.page.click("[data-keys]")
    expect(dialog).to_be_visible()

    assert walker.overflow() <= 0
    assert walker.problems == []


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("o", "/admin/"),
        ("w", "/admin/jobs/workflow/"),
        ("j", "/admin/jobs/job/"),
        ("e", "/admin/jobs/errorgroup/"),
        ("q", "/admin/jobs/queue/"),
        ("d", "/admin/webhooks/delivery/"),
    ],
)
def test_g_goes_elsewhere(walker: Walker, failed: list[Job], key: str, path: str) -> None:
    walker.visit("/admin/jobs/tenant/")

    walker.page.keyboard.press("g")
    walker.page.keyboard.press(key)

    walker.page.wait_for_url(f"{walker.server}{path}")


def test_nothing_happens_while_one_types(walker: Walker, failed: list[Job]) -> None:
    walker.visit("/admin/jobs/job/")
    field = walker.page.locator("#searchbar")

    walker.page.keyboard.press("/")
    expect(field).to_be_focused()
    walker.page.keyboard.type("jxrgo?/")

    expect(field).to_have_value("jxrgo?/")
    expect(walker.page.locator("#afd-keys")).to_be_hidden()
    walker.page.keyboard.press("Escape")
    expect(field).not_to_be_focused()
    walker.page.keyboard.press("Control+j")
    assert walker.page.evaluate("document.activeElement === document.body")
    assert not Job.objects.exclude(status="failed").exists()
