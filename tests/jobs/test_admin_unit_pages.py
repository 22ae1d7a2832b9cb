"""The page of a job or workflow: what is masked, what is drawn, what belongs to its trace."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import JSONField, Value
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from jobs.hygiene.masking import MASK
from jobs.models import AuditEntry, Event, Job, StaffTenant, Tenant, Workflow
from tests.factories import (
    make_attestation,
    make_delivery,
    make_endpoint,
    make_event,
    make_job,
    make_message,
    make_operator,
    make_receipt,
    make_sender,
    make_superuser,
    make_workflow,
)
from tests.units import attest

HOSTILE = '</pre><script>alert("x")</script>'
TRACE = "a" * 32


@pytest.fixture
def operator(db: None) -> Client:
    return client_of(make_superuser())


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def shown(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def reveal(client: Client, row: Any, reason: str = "a client asked") -> Any:
    return client.post(page_of(row), {"reveal": "1", "reason": reason})


# --- What is masked ---------------------------------------------------------------------------------


def rows_with_a_secret(tenant: Tenant) -> list[Any]:
    secret = {"deep": [{"api_token": "s3cret"}], "plain": "seen"}
    workflow = make_workflow(tenant, miniapp_req=secret, data=secret)
    job = make_job(tenant, status="failed", payload=secret, ctx={"miniapp_req": secret}, result=secret)
    message = make_message(tenant, workflow=workflow, body=b'{"api_token": "s3cret", "plain": "seen"}')
    delivery = make_delivery(make_endpoint(tenant), message)
    return [
        workflow,
        job,
        make_attestation(job, attestation_data={"result": secret}),
        make_event(job, "user_notified", user_id="u", method="mail", token="s3cret", plain="seen"),
        message,
        delivery,
        make_receipt(make_sender(tenant), body=secret, headers={"Authorization": "s3cret"}),
        make_receipt(None, body='{"api_token": "s3cret", "plain": "seen'),
    ]


def test_no_page_shows_a_masked_value_but_to_who_says_why(operator: Client, tenant: Tenant) -> None:
    for row in rows_with_a_secret(tenant):
        html = shown(operator, page_of(row))
        response = reveal(operator, row)

        assert "s3cret" not in html, row
        assert MASK in html, row
        assert "s3cret" in response.content.decode(), row
        assert "no-store" in response.headers["Cache-Control"]
        assert "s3cret" not in shown(operator, page_of(row) + "?reveal=1&reason=because")
        entry = AuditEntry.objects.get(action="reveal", object_id=str(row.pk), model=row._meta.label)
        assert entry.reason == "a client asked"


def test_what_is_told_in_a_word_is_masked_too(operator: Client, tenant: Tenant) -> None:
    secret = {"url": "https://u:s3cret@host.example/?token=s3cret", "deep": [{"token": "s3cret"}]}
    workflow = make_workflow(tenant, status="failed", error=secret)
    fields = {"workflow": workflow, "step_index": 0, "status": "failed", "service_required": "artgen"}
    step = make_job(tenant, error=secret, retry_policy=secret, **fields)

    for row in (workflow, step):
        assert "s3cret" not in shown(operator, page_of(row)), row
        assert "s3cret" in reveal(operator, row).content.decode(), row


def test_nothing_is_revealed_without_a_reason(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant, payload={"password": "s3cret"})

    response = operator.post(page_of(job), {"reveal": "1", "reason": "  "}, follow=True)

    assert "s3cret" not in response.content.decode()
    assert "Say why" in response.content.decode()
    assert not AuditEntry.objects.filter(action="reveal").exists()


def test_who_may_look_may_not_reveal(tenant: Tenant) -> None:
    viewer = client_of(make_operator("jobs.view_job"))
    job = make_job(tenant, payload={"password": "s3cret"})

    response = reveal(viewer, job)

    assert response.status_code == 403
    assert b"s3cret" not in response.content
    assert "Reveal once" not in shown(viewer, page_of(job))


def test_another_tenants_record_is_not_revealed(tenant: Tenant, other_tenant: Tenant) -> None:
    user = make_operator("jobs.view_job", "jobs.reveal_payloads", "jobs.change_job")
    StaffTenant.objects.create(user=user, tenant=tenant)
    job = make_job(other_tenant, status="failed", payload={"password": "s3cret"})
    client = client_of(user)

    assert reveal(client, job).status_code == 404
    assert client.get(reverse("admin:jobs_job_edit", args=[job.pk])).status_code == 404


def test_a_reveal_asks_for_the_token_of_its_form(tenant: Tenant) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_superuser())
    job = make_job(tenant, payload={"password": "s3cret"})

    assert reveal(client, job).status_code == 403


# --- What clients store -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [None, [], "text", 7, {"rows": ["x" * 90] * 10_000}, {"a": HOSTILE}],
    ids=["null", "list", "text", "number", "900 KB", "hostile"],
)
def test_a_payload_of_any_shape_is_shown(operator: Client, tenant: Tenant, payload: Any) -> None:
    job = make_job(tenant, status="failed", payload=payload or {}, error=HOSTILE, ctx=[HOSTILE])
    Job.objects.filter(pk=job.pk).update(payload=Value(payload, JSONField()))  # JSON's null, too

    html = shown(operator, page_of(job))

    assert HOSTILE not in html
    assert "<script>alert" not in html


def test_hostile_words_stay_words_everywhere(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(
        tenant, status="failed", error={"code": HOSTILE, "message": HOSTILE}, user_id=HOSTILE, trace_id=TRACE
    )
    job = make_job(
        tenant,
        service_required="artgen",
        workflow=workflow,
        step_index=0,
        step_name=HOSTILE,
        status="failed",
        attempt=1,
        worker=HOSTILE,
        started_at=timezone.now(),
        original_payload={"a": 1},
        error={"code": HOSTILE, "message": HOSTILE, "traceback": HOSTILE},
        trace_id=TRACE,
    )
    make_event(job, "log", lines=[HOSTILE])
    make_event(job, "retried", by=HOSTILE, reason=HOSTILE, before={"a": 1}, after={"a": HOSTILE})
    attest(job, worker_id=HOSTILE, attestation_data={"error": {"code": HOSTILE, "message": HOSTILE}})

    for url in (page_of(job), page_of(workflow), reverse("admin:trace", args=[TRACE])):
        assert "<script>alert" not in shown(operator, url)


# --- What is drawn ----------------------------------------------------------------------------------


def bars_in(html: str) -> list[str]:
    return re.findall(r'class="afd-bar afd-(\w+)', html.split("afd-bar-words")[0])


def test_each_attempt_of_a_lone_job_has_its_bar(operator: Client, tenant: Tenant) -> None:
    now = timezone.now()
    job = make_job(
        tenant,
        status="completed",
        attempt=2,
        worker="w-2",
        started_at=now - timedelta(seconds=20),
        completed_at=now - timedelta(seconds=5),
    )
    Job.objects.filter(pk=job.pk).update(created_at=now - timedelta(minutes=2))
    attest(
        job,
        1,
        worker_id="w-1",
        started_at=now - timedelta(seconds=90),
        attestation_data={"failed_at": int((now - timedelta(seconds=80)).timestamp() * 1_000)},
    )

    html = shown(operator, page_of(job))

    assert bars_in(html) == ["queued", "bad", "queued", "good"]
    assert "attempt 1 · w-1" in html
    assert "attempt 2 · w-2" in html


def test_a_job_that_never_began_is_drawn_as_waiting(operator: Client, tenant: Tenant) -> None:
    assert bars_in(shown(operator, page_of(make_job(tenant)))) == ["queued"]


def test_a_step_is_marked_in_the_waterfall_of_its_workflow(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, total_steps=2)
    fields = {"service_required": "artgen", "workflow": workflow, "started_at": timezone.now(), "attempt": 1}
    first = make_job(tenant, status="completed", step_index=0, step_name="paint", **fields)
    second = make_job(tenant, status="running", step_index=1, step_name="frame", **fields)

    html = shown(operator, page_of(second))

    assert html.count('class="afd-fall here') == 1
    assert page_of(first) in html.split("afd-moments")[0]
    assert page_of(workflow) in html


def test_attempts_name_their_own_errors_and_whether_they_are_as_attested(
    operator: Client, tenant: Tenant
) -> None:
    job = make_job(tenant, status="failed", attempt=2, error={"code": "b", "message": "the second"})
    attest(job, 1, attestation_data={"error": {"code": "a", "message": "the first"}}, digest="0" * 64)
    attest(job, 2, attestation_data={"error": {"code": "b", "message": "the second"}})

    html = shown(operator, page_of(job)).split('data-region="attempts"')[1].split("</section>")[0]

    assert html.index("the second") < html.index("the first")
    assert html.index("intact") < html.index("altered")


def test_an_edit_is_kept_as_a_difference(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant, original_payload={"n": 1, "token": "x"})
    change = {"before": {"n": 1, "token": "x"}, "after": {"n": 2, "token": "y"}}
    make_event(job, "retried", by="alice", reason="too few", **change)

    html = shown(operator, page_of(job))

    assert "Payload edited by alice" in html
    assert "too few" in html
    assert re.search(r'class="gone">.*<pre>  &quot;n&quot;: 1,</pre>', html)
    assert re.search(r'class="come">.*<pre>  &quot;n&quot;: 2,</pre>', html)
    assert f"{MASK} (changed)" in html


# --- Its trace --------------------------------------------------------------------------------------


def test_a_trace_leads_to_all_of_it(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, trace_id=TRACE)
    step = make_job(tenant, service_required="artgen", workflow=workflow, step_index=0, trace_id=TRACE)
    ended = make_job(tenant, status="failed", trace_id=TRACE)
    live = make_job(tenant, trace_id=TRACE)
    other = make_job(tenant, status="failed", trace_id="b" * 32)
    attestation = attest(ended)
    delivery = make_delivery(make_endpoint(tenant), make_message(tenant, job=ended))
    receipt = make_receipt(make_sender(tenant), trace_id=TRACE)

    html = shown(operator, reverse("admin:trace", args=[TRACE]))

    for row in (workflow, step, ended, live, attestation, delivery, receipt):
        assert page_of(row) in html
    assert page_of(other) not in html
    for row in (workflow, ended):
        assert reverse("admin:trace", args=[TRACE]) in shown(operator, page_of(row))


def test_a_trace_shows_what_the_account_may_see(tenant: Tenant, other_tenant: Tenant) -> None:
    user = make_operator("jobs.view_job")
    StaffTenant.objects.create(user=user, tenant=tenant)
    mine = make_job(tenant, status="failed", trace_id=TRACE)
    theirs = make_job(other_tenant, status="failed", trace_id=TRACE)
    attestation = attest(mine)

    html = shown(client_of(user), reverse("admin:trace", args=[TRACE]))

    assert page_of(mine) in html
    assert page_of(theirs) not in html
    assert page_of(attestation) not in html


@pytest.mark.parametrize("trace_id", ["a" * 31, "A" * 32, "g" * 32, "a" * 33])
def test_what_is_no_trace_id_has_no_page(operator: Client, trace_id: str) -> None:
    assert operator.get(f"/admin/trace/{trace_id}/").status_code == 404


def test_a_trace_asks_for_a_right(db: None) -> None:
    assert client_of(make_operator()).get(reverse("admin:trace", args=[TRACE])).status_code == 403


# --- What it costs ----------------------------------------------------------------------------------


def test_pages_of_units_cost_the_same_however_much_happened(
    operator: Client, tenant: Tenant, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    def make(attempts: int) -> tuple[Job, Workflow]:
        job = make_job(
            tenant,
            status="failed",
            attempt=attempts,
            max_attempts=attempts,
            original_payload={},
            trace_id=TRACE,
        )
        workflow = make_workflow(tenant, total_steps=attempts, trace_id=TRACE)
        for number in range(attempts):
            attest(job, number + 1)
            make_event(job, "retried", by="a", before={}, after={"n": number})
            make_job(tenant, service_required="s", workflow=workflow, step_index=number, status="completed")
        return job, workflow

    def cost(url: str) -> int:
        with django_assert_max_num_queries(45) as counted:
            shown(operator, url)
        return len(counted)

    few, many = make(1), make(9)

    for one, other in zip(few, many, strict=True):
        assert cost(page_of(one)) == cost(page_of(other))


def test_a_page_says_how_to_go_on_watching_until_its_unit_has_ended(operator: Client, tenant: Tenant) -> None:
    running = make_job(tenant, status="running")
    event = make_event(running)
    ended = make_job(tenant, status="completed")

    html = shown(operator, page_of(running))

    assert f'data-last-id="{event.pk}"' in html
    assert f"/api/jobs/{running.pk}/events?tenant=acme" in html
    assert "data-stream" not in shown(operator, page_of(ended))


def test_a_stream_masks_for_people_what_it_tells_programs(api: Any, operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, status="completed", outputs=[{"token": "s3cret"}])
    job = make_job(tenant, status="completed")
    Event.objects.create(
        tenant=tenant, job=job, type="retried", data={"before": {"token": "s3cret"}, "reason": "why not"}
    )
    make_event(job, "log", lines=["token: a word"])

    for url in (f"/api/jobs/{job.pk}/events", f"/api/workflows/{workflow.workflow_id}/events"):
        assert "s3cret" in api.get(url).content.decode()
        assert "s3cret" not in operator.get(url).content.decode()
    assert "why not" in operator.get(f"/api/jobs/{job.pk}/events").content.decode()
    assert "token: a word" in operator.get(f"/api/jobs/{job.pk}/events").content.decode()
