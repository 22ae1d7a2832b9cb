"""What the monitor shows and refuses to those who may only look, and to those of another tenant, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.urls import reverse
from playwright.sync_api import expect

from jobs.admin.access.roles import OPERATOR, VIEWER
from jobs.models import BulkOperation, Job, Queue, Tenant
from tests.browser.conftest import Walker
from tests.factories import (
    make_attestation,
    make_delivery,
    make_endpoint,
    make_error_group,
    make_event,
    make_job,
    make_message,
    make_receipt,
    make_restricted,
    make_sender,
    make_submission,
    make_tenant,
    make_user,
    make_worker,
    make_workflow,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASSWORD = "correct horse"
NOT_THERE = {302, 403, 404}


def make_account(name: str, role: str) -> User:
    user = make_user(name, is_staff=True)
    user.groups.add(Group.objects.get_or_create(name=role)[0])
    return user


@pytest.fixture
def roles() -> None:
    """The groups as `migrate` keeps them, which a test in between may have emptied."""
    from django.apps import apps

    from jobs.admin.access.roles import keep_roles

    for config in apps.get_app_configs():
        if config.label in ("jobs", "attestations", "webhooks", "auth"):
            keep_roles(config)


def post(walker: Walker, path: str, **form: Any) -> int:
    """The status of a POST with the cookies and the token of this browser."""
    token = next(cookie["value"] for cookie in walker.page.context.cookies() if cookie["name"] == "csrftoken")
    answer: Any = walker.page.request.post(
        walker.server + path,
        form={"csrfmiddlewaretoken": token, **form},
        headers={"Referer": walker.server + path},
        max_redirects=0,
    )
    return int(answer.status)


def test_a_viewer_sees_and_changes_nothing(walker: Walker, roles: None) -> None:
    tenant = make_tenant("acme")
    make_account("viewer", VIEWER)
    job = make_job(tenant, kind="system.ping", status="failed", attempt=1)
    queue = Queue.objects.get(name="default", is_remote=False)
    walker.log_in("viewer", PASSWORD)
    page = walker.page

    walker.visit("/admin/jobs/job/?status=failed")
    expect(page.locator("#result_list tr.data-row")).to_have_count(1)
    expect(page.locator("select[name=action]")).to_have_count(0)
    walker.visit(f"/admin/jobs/job/{job.pk}/change/")
    expect(page.locator(".afd-verbs button, .afd-head a[href$='/edit/']")).to_have_count(0)
    walker.visit(f"/admin/jobs/queue/{queue.pk}/change/")
    expect(page.locator("button[name=action]")).to_have_count(0)
    for key in ("r", "e"):
        page.keyboard.press(key)
    chosen = {"_selected_action": str(job.pk), "confirmed": "1", "reason": "because"}
    refused = [
        post(walker, "/admin/jobs/job/", action="retry_jobs", **chosen),
        post(walker, "/admin/jobs/job/", action="cancel_jobs", select_across="1", **chosen),
        post(walker, "/admin/jobs/queue/", action="pause_queues", _selected_action=str(queue.pk)),
        post(walker, f"/admin/jobs/job/{job.pk}/edit/", payload="{}", reason="because", step="confirm"),
        post(walker, f"/admin/jobs/job/{job.pk}/change/", reason="because"),
        post(walker, f"/admin/jobs/queue/{queue.pk}/change/", max_running="1"),
    ]

    assert set(refused) == {403}
    job.refresh_from_db()
    queue.refresh_from_db()
    assert job.status == "failed"
    assert not queue.is_paused
    assert not BulkOperation.objects.exists()


def rows_of(tenant: Tenant) -> list[Model]:
    """A row of everything that a tenant owns and an operator looks at."""
    workflow = make_workflow(tenant, workflow_id=f"workflow-of-{tenant.slug}", trace_id="a" * 32)
    job = make_job(
        tenant, kind="system.ping", status="failed", attempt=1, payload={"prompt": f"for {tenant.slug}"}
    )
    endpoint, sender = make_endpoint(tenant), make_sender(tenant)
    message = make_message(tenant, workflow=workflow)
    return [
        tenant,
        workflow,
        job,
        make_event(job),
        make_attestation(job),
        make_error_group(tenant),
        make_worker(tenant),
        make_submission(tenant),
        endpoint,
        message,
        make_delivery(endpoint, message),
        sender,
        make_receipt(sender),
    ]


def paths_of(row: Model) -> list[str]:
    """The addresses of a row."""
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
    paths = [reverse(f"{name}_{page}", args=[row.pk]) for page in ("change", "history", "delete")]
    return [*paths, *([f"/admin/jobs/job/{row.pk}/edit/"] if isinstance(row, Job) else [])]


def test_nothing_of_another_tenant_is_reached(walker: Walker, roles: None) -> None:
    mine, theirs = make_tenant("acme"), make_tenant("globex")
    make_restricted(make_account("operator", OPERATOR), mine)
    own, foreign = rows_of(mine), rows_of(theirs)
    assert {type(row) for row in foreign} <= set(admin.site._registry)
    walker.log_in("operator", PASSWORD)
    page = walker.page

    for row in foreign:
        for path in paths_of(row):
            answer = page.request.get(walker.server + path, max_redirects=0)
            assert answer.status in NOT_THERE, f"{path} answers {answer.status}"
            link = f"/{row.pk}/"  # a number by itself stands in every page
            assert link not in answer.text().replace(path, ""), path
    for row in own:
        name = f"admin:{row._meta.app_label}_{row._meta.model_name}"
        walker.visit(reverse(f"{name}_changelist"))
        expect(page.locator("#result_list tr.data-row")).to_have_count(1)
    job = next(row for row in foreign if isinstance(row, Job))
    for query in (
        f"q={job.pk}",
        "payload=prompt%3Dfor+globex",
        "tenant=globex",
        f"q={job.trace_id}&tenant=globex",
    ):
        walker.visit(f"/admin/jobs/job/?{query}")
        expect(page.locator(f"#result_list a[href*='{job.pk}']")).to_have_count(0)
    for kind in ("csv", "json"):
        given = page.request.get(f"{walker.server}/admin/jobs/job/export/{kind}/?with=payload").text()
        assert str(job.pk) not in given
        assert "for acme" in given

    status = post(
        walker,
        "/admin/jobs/job/",
        action="retry_jobs",
        _selected_action=str(job.pk),
        confirmed="1",
        from_page="1",
    )
    assert status in {200, *NOT_THERE}
    job.refresh_from_db()
    assert job.status == "failed"
