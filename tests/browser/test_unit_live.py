"""A real browser watches a job run: its lines come as they are written, and its end brings what came of it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from jobs.models import Job
from jobs.services.jobs import append_log, complete_job, report_progress
from tests.browser.conftest import Walker
from tests.factories import claim_one, make_job, make_superuser, make_tenant, make_workflow

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SOON_MS = 15_000  # behind a plain web server a watcher comes again every 3 seconds


@pytest.fixture
def operator(walker: Walker) -> Walker:
    make_superuser("operator")
    walker.log_in("operator", "correct horse")
    return walker


def make_running() -> Job:
    tenant = make_tenant("acme")
    workflow = make_workflow(tenant)
    return make_job(
        tenant,
        service_required="artgen",
        workflow=workflow,
        step_index=0,
        step_name="paint",
        payload={"n": 1},
    )


def test_a_job_is_watched_to_its_end(operator: Walker) -> None:
    job, page = make_running(), operator.page
    token = claim_one(job).lease_token
    append_log(job, token, ["an earlier line"])
    operator.visit(f"/admin/jobs/job/{job.pk}/change/")
    expect(page.locator("[data-watching]")).to_have_text("live")

    append_log(job, token, ["a line <b>as it comes</b>", "another"])
    report_progress(job, token, 60, "more than half")
    expect(page.locator("[data-log] li")).to_have_count(4, timeout=SOON_MS)
    expect(page.locator("[data-percent]")).to_have_text("60 %", timeout=SOON_MS)
    complete_job(job, token, {"answer": "forty-two"})

    expect(page.locator("[data-watching]")).to_have_text("ended: completed", timeout=SOON_MS)
    expect(page.locator('[data-region="badges"]')).to_contain_text("completed", timeout=SOON_MS)
    expect(page.locator('[data-region="documents"]')).to_contain_text("forty-two")
    expect(page.locator('[data-region="attempts"]')).to_contain_text("intact")
    lines = page.locator("[data-log] pre").all_inner_texts()
    assert lines == ["an earlier line", "a line <b>as it comes</b>", "another", "60 % more than half"]
    assert operator.overflow() <= 0
    assert operator.problems == []


def test_a_workflow_names_the_step_of_a_line(operator: Walker) -> None:
    job, page = make_running(), operator.page
    token = claim_one(job).lease_token
    operator.visit(f"/admin/jobs/workflow/{job.workflow_id}/change/")
    expect(page.locator("[data-watching]")).to_have_text("live")

    append_log(job, token, ["mixing colours"])
    expect(page.locator("[data-log] li").last).to_contain_text("paint mixing colours", timeout=SOON_MS)
    complete_job(job, token, {"url": "https://cdn.example.com/a.png"})

    expect(page.locator("[data-watching]")).to_have_text("ended: completed", timeout=SOON_MS)
    expect(page.locator('[data-region="steps"]')).to_contain_text("completed", timeout=SOON_MS)
    assert operator.problems == []
