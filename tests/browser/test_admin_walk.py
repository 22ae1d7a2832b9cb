"""A real browser logs in and opens every page of the admin, wide and narrow, light and dark."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone

from attestations.models import Submission
from jobs.admin.bulk import run_operation
from jobs.models import ApiKey, BulkOperation, EvaluationRun, Job, Queue, Schedule, Tenant, Workflow
from jobs.tenancy.services import find_api_key
from tests.browser.conftest import Walker
from tests.everything import make_error_group, make_operation
from tests.factories import (
    make_attempt,
    make_attestation,
    make_audit_entry,
    make_cluster,
    make_collection,
    make_delivery,
    make_endpoint,
    make_event,
    make_job,
    make_key,
    make_message,
    make_receipt,
    make_sender,
    make_service,
    make_session,
    make_silent_cluster,
    make_submission,
    make_superuser,
    make_transaction,
    make_worker,
    make_workflow,
)
from tests.operations import envelope_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HOSTILE = '</pre><script>document.title = "taken"</script><img src=x onerror="document.title = \'taken\'">'
PASSWORD = "correct horse"
LOOKS = [(width, scheme) for width in (1400, 390) for scheme in ("light", "dark")]


@pytest.fixture
def rows() -> list[Model]:
    """At least one row of everything that is registered, and what could break a page."""
    tenant = Tenant.objects.create(slug="acme", name="Acme Print Works with a name of some length")
    operator = make_superuser("operator")
    collection = make_collection(tenant)
    workflow = make_workflow(
        tenant, workflow_id="w" * 200, collection=collection, miniapp_req={HOSTILE: HOSTILE}
    )
    job = make_job(
        tenant,
        service_required="artgen",
        workflow=workflow,
        step_index=0,
        step_name="paint",
        status="running",
        progress=40,
        worker="worker-" + "x" * 100,
        payload={"prompt": HOSTILE, "long": "x" * 500},
        result={"url": "https://pictures.example/out.png"},
        error={"code": "boom", "message": HOSTILE, "traceback": HOSTILE},
    )
    judge(workflow)
    found = [tenant, operator, collection, workflow, job, make_event(job, lines=[HOSTILE, "y" * 500])]
    found += [make_job(tenant, status=status) for status in ("queued", "completed", "failed", "cancelled")]
    found += [make_worker(tenant), make_attestation(job), make_key(tenant)[0]]
    found += [make_cluster(), make_silent_cluster(hostname="h" * 200, problem="It is stuck. " * 20)]
    found += [Queue.objects.get(name="default"), make_service("s" * 100, max_running=3)]
    endpoint = make_endpoint(tenant, description="e" * 500)
    message = make_message(tenant, workflow=workflow, job=job)
    delivery = make_delivery(endpoint, message, status="failed", detail="d" * 500)
    make_attempt(delivery, outcome="failed", response_body=HOSTILE)
    sender = make_sender(tenant)
    found += [endpoint, message, delivery, sender, make_receipt(sender, workflow=workflow)]
    found += submissions(tenant)
    found.append(make_session(tenant, session_id="s" * 100))
    found.append(EvaluationRun.objects.create(categories={"incomplete": 1}, problems={"stuck": 1}))
    found.append(make_service(paused_at=timezone.now(), paused_by="a" * 150))
    found += [make_operation(tenant), make_error_group(job), Schedule.objects.order_by("pk")[0]]
    changed = {"payload": {"prompt": HOSTILE}, "long": "x" * 500}
    found.append(make_audit_entry(tenant, before=changed, after={"long": 1}, reason=HOSTILE, actor="a" * 150))
    return [*found, Group.objects.create(name="operators")]


def submissions(tenant: Tenant) -> list[Model]:
    """One of each status, one of them skipped, with a transaction; their words could break a page."""
    rows = [
        make_submission(
            tenant, status=status, user_id="u" * 200, decided_by="d" * 200, decision_reason=HOSTILE * 3
        )
        for status in Submission.Status.values
    ]
    rows.append(make_submission(tenant, status="proof_publishing", skipped_reason="s" * 290))
    rows.append(make_submission(tenant, status="rejected", failure_reason=HOSTILE + "f" * 500))
    return [*rows, make_transaction(rows[3], error="e" * 500)]


def judge(workflow: Workflow) -> None:
    """What the evaluator says of it, in words that could break a page."""
    said: dict[str, Any] = {
        "missing": HOSTILE + "m" * 300,
        "where": {},
        "since": None,
        "what_to_do": ["w" * 300],
        "also": ["expired"],
    }
    workflow.is_cleanup_evaluated, workflow.status_category = True, "incomplete"
    workflow.problem_type, workflow.problem_details = "stuck", said
    workflow.save()


def paths_of(rows: list[Model]) -> list[str]:
    """Every list, every page of a row, a history, and the form to add one where there is such a form."""
    request = RequestFactory().get("/")
    request.user = next(row for row in rows if row._meta.model_name == "user")  # type: ignore[assignment]
    paths = [reverse("admin:index"), reverse("admin:password_change")]
    for model, model_admin in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        paths.append(reverse(f"{name}_changelist"))
        if model_admin.has_add_permission(request):
            paths.append(reverse(f"{name}_add"))
        keys = [row.pk for row in rows if isinstance(row, model)]
        paths += [reverse(f"{name}_change", args=[key]) for key in keys]
        paths.append(reverse(f"{name}_history", args=[keys[0]]))
    return paths


@pytest.mark.parametrize("walker", LOOKS, indirect=True, ids=lambda look: f"{look[0]}-{look[1]}")
def test_every_page_opens_without_a_fault(walker: Walker, rows: list[Model]) -> None:
    assert {type(row) for row in rows} == set(admin.site._registry)
    walker.log_in("operator", PASSWORD)

    for path in paths_of(rows):
        walker.visit(path)
        assert walker.overflow() <= 0, f"{path} is wider than the window"
        assert walker.page.title() != "taken", path

    assert walker.problems == []


def test_a_job_is_cancelled_from_its_page(walker: Walker, rows: list[Model]) -> None:
    job = Job.objects.exclude(kind__startswith="proofs.").get(status="queued")
    walker.log_in("operator", PASSWORD)
    walker.visit(reverse("admin:jobs_job_change", args=[job.pk]))

    walker.page.click("button:has-text('Cancel')")
    walker.page.click("button:has-text('Cancel')")
    walker.page.wait_for_selector("text=1 job cancelled.")

    job.refresh_from_db()
    assert job.status == Job.Status.CANCELLED
    assert walker.problems == []


def test_jobs_are_retried_from_the_list(walker: Walker, rows: list[Model]) -> None:
    walker.log_in("operator", PASSWORD)
    walker.visit(reverse("admin:jobs_job_changelist") + "?status__exact=failed")

    walker.page.check("tbody input.action-select")
    walker.page.select_option("select[name=action]", "retry_jobs")
    walker.page.click("button[name=index]")
    walker.page.fill("input[name=reason]", "The GPU is back.")
    walker.page.click("button:has-text('Retry')")
    walker.page.wait_for_selector("h2:has-text('Retry 1 job')")
    operation = BulkOperation.objects.latest("pk")
    run_operation(operation.pk, envelope_of(operation))
    walker.page.wait_for_selector("text=1 done, 0 refused")

    assert not Job.objects.failed().exists()
    assert walker.problems == []


def test_a_queue_is_paused_limited_and_resumed(walker: Walker, rows: list[Model]) -> None:
    queue = Queue.objects.get(name="default")
    walker.log_in("operator", PASSWORD)
    walker.visit(reverse("admin:jobs_queue_change", args=[queue.pk]))

    walker.page.click("button:has-text('Pause')")
    walker.page.wait_for_selector("text=1 queue paused")
    walker.page.fill("input[name=max_running]", "3")
    walker.page.click("button[name=_save]")
    walker.page.wait_for_selector(r"text=/for \d/")  # how long, in seconds
    queue.refresh_from_db()
    paused_by, limit = queue.paused_by, queue.max_running
    walker.page.check(f"tbody input.action-select[value='{queue.pk}']")
    walker.page.select_option("select[name=action]", "resume_queues")
    walker.page.click("button[name=index]")
    walker.page.wait_for_selector("text=1 queue resumed.")

    queue.refresh_from_db()
    assert (paused_by, limit, queue.is_paused) == ("operator", 3, False)
    assert walker.problems == []


def test_a_new_key_is_gone_after_a_reload(walker: Walker, rows: list[Model]) -> None:
    walker.log_in("operator", PASSWORD)
    walker.visit(reverse("admin:jobs_apikey_add"))

    walker.page.click(".select2-selection")
    walker.page.click(".select2-results__option:has-text('acme')")
    walker.page.fill("input[name=name]", "fleet")
    walker.page.check("input[name=scopes][value=work]")
    walker.page.click("button[name=_save]")
    text = walker.page.inner_text(".afd-key code")
    walker.page.wait_for_function("location.pathname.endsWith('/apikey/')")  # what a reload leads to
    walker.page.reload(wait_until="networkidle")

    key: Any = find_api_key(text)
    assert (key.name, key.scopes) == ("fleet", ["work"])
    assert text not in walker.page.content()
    assert ApiKey.objects.filter(name="fleet").count() == 1
    assert walker.problems == []
