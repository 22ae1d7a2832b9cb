"""What the admin's pages show, and what they cost."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from attestations.models import Attestation, ChainTransaction, Submission
from jobs.admin import displays
from jobs.admin.documents import SHOWN_CHARS, document, tokens_of
from jobs.admin.lists import scans
from jobs.admin.outputs import outputs
from jobs.models import ApiKey, Collection, Event, Job, StatusCategory, Tenant, Worker, Workflow
from tests.factories import (
    STEPS,
    make_attestation,
    make_collection,
    make_event,
    make_job,
    make_key,
    make_service,
    make_submission,
    make_superuser,
    make_transaction,
    make_worker,
    make_workflow,
)

HOSTILE = '</pre><script>alert("x")</script>'


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_superuser())
    return client


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def shown(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def make_jobs(tenant: Tenant, count: int) -> list[Job]:
    return [
        make_job(
            tenant,
            service_required="artgen",
            workflow=make_workflow(tenant, collection=make_collection(tenant)),
            step_index=0,
            payload={"prompt": "heavy"},
        )
        for _ in range(count)
    ]


# --- Every state ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", Job.Status.values)
def test_a_job_of_every_status_is_shown(operator: Client, tenant: Tenant, status: str) -> None:
    workflow = make_workflow(tenant)
    job = make_job(tenant, service_required="artgen", status=status, workflow=workflow, step_index=0)

    for url in (list_of(Job), page_of(job), page_of(workflow)):
        assert displays.badge(status) in shown(operator, url)


@pytest.mark.parametrize("status", Workflow.Status.values)
def test_a_workflow_of_every_status_is_shown(operator: Client, tenant: Tenant, status: str) -> None:
    workflow = make_workflow(tenant, status=status)

    for url in (list_of(Workflow), page_of(workflow)):
        assert displays.badge(status) in shown(operator, url)


def test_every_word_of_a_status_has_its_badge() -> None:
    words = [Job.Status, Workflow.Status, Workflow.NotificationStatus, StatusCategory, Attestation.Status]

    assert {word for choices in words for word in choices.values} <= set(displays.BADGES)


@pytest.mark.parametrize("type_", Event.Type.values)
def test_an_event_of_every_type_is_shown(operator: Client, tenant: Tenant, type_: str) -> None:
    job = make_job(tenant, status="failed")
    event = make_event(
        job, type_, by="alice", reason="because", progress=40, message="halfway", lines=["a line"]
    )

    for url in (list_of(Event), page_of(event)):
        shown(operator, url)
    assert f'<li class="{type_}">' in shown(operator, page_of(job))


def test_a_platform_job_without_anything_is_shown(operator: Client, db: None) -> None:
    html = shown(operator, page_of(make_job()))

    assert "platform" in html
    assert "<dd>None</dd>" not in html


def test_a_job_shows_its_lease_progress_error_and_trace(operator: Client, tenant: Tenant) -> None:
    job = make_job(
        tenant,
        status="running",
        attempt=2,
        progress=42,
        worker="gpu-7",
        error={"code": "worker_lost", "message": "It went away.", "traceback": "Traceback: <boom>"},
    )

    html = shown(operator, page_of(job))

    for text in ("2 of 3", "gpu-7", 'value="42"', "worker_lost", "It went away.", "Traceback: &lt;boom&gt;"):
        assert text in html
    assert f'data-copy="{job.trace_id}"' in html
    assert "Error of the last attempt" in html


def test_a_job_shows_request_payload_and_result_side_by_side(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant)
    job = make_job(
        tenant,
        status="completed",
        workflow=workflow,
        step_index=0,
        ctx={"miniapp_req": {"style": "ink"}, "workflow_id": workflow.workflow_id},
        payload={"width": 1024},
        result={"ok": True},
    )

    html = shown(operator, page_of(job))

    assert '<span class="key">&quot;style&quot;</span>: <span class="text">&quot;ink&quot;</span>' in html
    assert '<span class="number">1024</span>' in html
    assert '<span class="word">true</span>' in html
    assert page_of(workflow) in html
    assert "Other context" not in html


def test_a_job_shows_its_own_retry_policy(operator: Client, tenant: Tenant) -> None:
    plain = make_job(tenant)
    job = make_job(tenant, retry_policy={"delays": [1, 60], "jitter": 0.1})

    html = shown(operator, page_of(job))

    assert str(displays.words(["delays [1, 60]", "jitter 0.1"])) in html
    assert "Own retry policy" not in shown(operator, page_of(plain))


def test_a_jobs_log_shows_the_last_200_lines(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant)
    for number in range(5):
        make_event(job, lines=[f"line {number}-{n}" for n in range(50)])

    html = shown(operator, page_of(job))

    assert html.count('<li class="log">') == 200
    assert "line 0-49" not in html
    assert "line 1-0<" in html


def test_a_workflow_shows_its_jobs_in_order(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, total_steps=2, data={"collection_name": "gone"})
    later = make_job(tenant, workflow=workflow, step_index=1, step_name="frame", status="waiting")
    first = make_job(tenant, workflow=workflow, step_index=0, step_name="paint", status="running")

    html = shown(operator, page_of(workflow))

    assert html.index(page_of(first)) < html.index(page_of(later))
    assert "1. paint" in html
    assert "2. frame" in html


def test_a_workflow_whose_collection_is_gone_is_shown(operator: Client, tenant: Tenant) -> None:
    collection = make_collection(tenant, name="Portraits")
    workflow = make_workflow(tenant, collection=collection, data={"collection_name": "Portraits"})
    collection.delete()

    assert "Portraits (deleted)" in shown(operator, page_of(workflow))
    shown(operator, list_of(Workflow))


def test_an_event_whose_job_is_gone_is_shown(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant)
    event = make_event(job)
    job.delete()

    shown(operator, page_of(event))
    shown(operator, list_of(Event))


def test_a_worker_shows_what_it_is_at(operator: Client, tenant: Tenant) -> None:
    worker = make_worker(tenant, worker_id="gpu-7")
    held = make_job(tenant, kind="", service_required="artgen", status="running", worker="gpu-7")
    elsewhere = make_job(status="running", worker="gpu-7")

    html = shown(operator, page_of(worker))

    assert page_of(held) in html
    assert page_of(elsewhere) not in html
    assert displays.badge("online") in html


@pytest.mark.parametrize(
    "model", [Job, Workflow, Event, Worker, Tenant, ApiKey, Collection, Attestation], ids=lambda m: m.__name__
)
def test_an_empty_list_is_shown(operator: Client, model: type[Model]) -> None:
    html = shown(operator, list_of(model))

    assert "No results found" in html or f"No {model._meta.verbose_name_plural} yet" in html


# --- Hostile content --------------------------------------------------------------------------------


def test_hostile_json_is_escaped(operator: Client, tenant: Tenant) -> None:
    hostile = {HOSTILE: [HOSTILE, {"</script>": HOSTILE}]}
    workflow = make_workflow(
        tenant, miniapp_req=hostile, data=hostile, error={"code": HOSTILE, "message": HOSTILE}
    )
    job = make_job(
        tenant,
        service_required=HOSTILE,
        status="failed",
        workflow=workflow,
        step_index=0,
        step_name=HOSTILE,
        worker=HOSTILE,
        payload=hostile,
        ctx={"miniapp_req": hostile},
        result=hostile,
        error={"code": HOSTILE, "message": HOSTILE, "traceback": HOSTILE},
    )
    event = make_event(job, lines=[HOSTILE])
    worker = make_worker(tenant, worker_id=HOSTILE, services=[HOSTILE])

    pages = [page_of(row) for row in (job, workflow, event, worker)]
    lists = [list_of(model) for model in (Job, Workflow, Event, Worker)]
    for url in [*pages, *lists, reverse("admin:index")]:
        assert "<script>alert" not in shown(operator, url), url


def test_strange_json_is_shown(operator: Client, tenant: Tenant) -> None:
    for value in (0, "text", [], [1, None], {"": ""}, {"a": "\\\"`'<>&"}):
        job = make_job(tenant, payload=value, result=value, ctx={"miniapp_req": value}, error=value)

        shown(operator, page_of(job))


@pytest.mark.parametrize(
    "details",
    [
        {"since": "2026-13-45T99:00:00Z", "also": None, "what_to_do": None, "missing": None},
        {"since": "2026-01-01T00:00:00", "also": [1, None], "what_to_do": "text", "missing": [1]},
        {"since": 7, "also": {"a": 1}, "what_to_do": [{}, 7]},
        ["list"],
        "text",
    ],
)
def test_an_odd_verdict_is_shown(operator: Client, tenant: Tenant, details: Any) -> None:
    verdict = {"status_category": "filed", "problem_type": "stuck", "problem_details": details}
    workflow = make_workflow(tenant, status="failed", error="text", retry_execution_data=details, **verdict)
    job = make_job(tenant, status="failed", error=["list"], **verdict)

    for row in (workflow, job):
        assert "stuck" in shown(operator, page_of(row)).lower()


def test_taking_json_apart_loses_nothing() -> None:
    value = {"a": [1, -2.5e-7, True, None, 'quo"te: \\', "</pre>"], "ü": {"": "true"}, "url": "http://x/y:z"}
    text = json.dumps(value, indent=2, ensure_ascii=False)

    assert "".join(part for _, part in tokens_of(text)) == text
    assert ("key", '"a"') in tokens_of(text)
    assert ("text", '"true"') in tokens_of(text)


def test_marks_that_turn_text_round_are_shown_as_what_they_are() -> None:
    assert document("Payload", "\u202edrow").tokens == [("text", '"\\u202edrow"')]


def test_a_long_document_is_cut_and_says_so() -> None:
    long = document("Payload", "x" * (SHOWN_CHARS + 10))

    assert long.is_cut
    assert len(long.tokens) == 1
    assert len(long.tokens[0][1]) == SHOWN_CHARS


@pytest.mark.parametrize(
    ("address", "picture"),
    [
        ("{}/artifacts/acme/1/token/out.png", "/artifacts/acme/1/token/out.png"),
        ("{}/artifacts/acme/1/token/out.JPEG", "/artifacts/acme/1/token/out.JPEG"),
        ("{}/artifacts/acme/1/token/out.txt", ""),
        ("{}/artifacts/acme/1/token/out.mp4", ""),
        ("{}/artifacts/../admin/logout/x.png", ""),
        ("{}/artifacts/%2e%2e/admin/x.png", ""),
        ("{}/artifacts/a.png?next=/x.png", ""),
        ("{}/artifacts//elsewhere.example/x.png", ""),
        ("{}.evil.example/artifacts/x.png", ""),
        ("https://pictures.example/out.png", ""),
    ],
)
def test_only_artifacts_of_this_host_are_shown_as_pictures(settings: Any, address: str, picture: str) -> None:
    (output,) = outputs([address.format(settings.PUBLIC_URL)])

    assert output.picture == picture


def test_what_is_no_web_address_is_no_output() -> None:
    assert outputs(["javascript:alert(1)", "data:text/html,x", "//host/x.png", "ftp://x/y"]) == []


def test_a_foreign_picture_is_a_link(operator: Client, settings: Any, tenant: Tenant) -> None:
    ours = f"{settings.PUBLIC_URL}/artifacts/acme/1/token/out.png"
    job = make_job(tenant, status="completed", result={"a": ours, "b": "https://pictures.example/out.png"})

    html = shown(operator, page_of(job))

    assert '<img src="/artifacts/acme/1/token/out.png"' in html
    assert html.count("<img") == 1
    assert 'href="https://pictures.example/out.png" rel="noopener noreferrer"' in html


# --- What lists cost --------------------------------------------------------------------------------

# Session, account and its restriction; the transaction, which bounds its statements; keys, rows and saved views; then
# the choices of the filters (tenants; for jobs, all that names services).
LIST_QUERIES = {
    Job: 13,
    Workflow: 10,
    Event: 10,
    Worker: 10,
    ApiKey: 10,
    Tenant: 6,
    Collection: 7,
    Attestation: 10,
    Submission: 10,
    ChainTransaction: 9,
}


def make_rows(tenant: Tenant, count: int) -> None:
    for job in make_jobs(tenant, count):
        make_event(job)
        make_worker(tenant)
        make_key(tenant)
        make_attestation(job)
        make_transaction(make_submission(tenant))


@pytest.fixture(autouse=True)
def _known_content_types(db: None) -> None:
    """Django caches these: only the first page of a process asks for them."""
    ContentType.objects.get_for_models(*apps.get_models())


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("model", LIST_QUERIES, ids=lambda model: model.__name__)
def test_a_list_costs_the_same_however_long(
    operator: Client,
    tenant: Tenant,
    django_assert_num_queries: DjangoAssertNumQueries,
    model: type[Model],
    count: int,
) -> None:
    make_rows(tenant, count)

    with django_assert_num_queries(LIST_QUERIES[model]):
        shown(operator, list_of(model))


def test_pages_cost_a_fixed_number_of_queries(
    operator: Client, tenant: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    job, *_ = make_jobs(tenant, 3)
    make_attestation(job)
    assert job.workflow

    # Session, account and its restriction, job with all it belongs to, whether its queue is paused, events,
    # attestations, deliveries, and what the timeline of its workflow asks each floor for.
    with django_assert_num_queries(15):
        shown(operator, page_of(job))
    # And here the steps and receipts.
    with django_assert_num_queries(16):
        shown(operator, page_of(job.workflow))


def test_a_list_leaves_the_heavy_columns_where_they_are(
    operator: Client, tenant: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_jobs(tenant, 1)

    with django_assert_num_queries(LIST_QUERIES[Job]) as captured:
        shown(operator, list_of(Job))

    (rows,) = [
        q["sql"] for q in captured.captured_queries if "jobs_job" in q["sql"] and '"worker"' in q["sql"]
    ]
    for column in ("payload", "ctx", "result", "miniapp_req", "data"):
        assert f'"{column}"' not in rows


def test_a_short_list_is_counted_exactly(operator: Client, tenant: Tenant) -> None:
    make_jobs(tenant, 3)

    html = shown(operator, list_of(Job))

    assert "<p>3 jobs</p>" in html
    assert "Show all" not in html  # there is no more than what is shown


# --- Search and filters -----------------------------------------------------------------------------


def found(client: Client, model: type[Model], **query: str) -> set[Any]:
    response = client.get(list_of(model), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


def test_a_job_is_found_by_what_it_is_known_by(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, workflow_id="gen-7", user_id="user-7")
    job = make_job(
        tenant,
        service_required="artgen",
        workflow=workflow,
        step_index=0,
        status="running",
        worker="gpu-7",
        trace_id="7" * 32,
        actor_id="alice",
    )
    make_jobs(tenant, 2)

    terms = [str(job.pk), str(workflow.pk), "gen-7", "7" * 32, "user-7", "gpu-", "alice"]
    for term in terms:
        assert found(operator, Job, q=f" {term} ") == {job.pk}, term
    for nothing in ("x" * 36, "nothing", "%", "'", "\\", str(tenant.pk)):
        assert found(operator, Job, q=nothing) == set(), nothing


def test_a_workflow_is_found_by_what_it_is_known_by(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(
        tenant, workflow_id="gen-7", user_id="user-7", session_id="s-7", trace_id="7" * 32
    )
    make_workflow(tenant)

    for term in (str(workflow.pk), "gen-7", "gen-", "user-7", "s-7", "7" * 32):
        assert found(operator, Workflow, q=term) == {workflow.pk}, term


def test_events_workers_keys_and_collections_are_found(operator: Client, tenant: Tenant) -> None:
    (job,) = make_jobs(tenant, 1)
    event = make_event(job)
    make_event(make_job(tenant))
    worker = make_worker(tenant, worker_id="gpu-7", services=["upscale"])
    make_worker(tenant)
    key, text = make_key(tenant)
    make_key(tenant)
    collection = make_collection(tenant, name="Neon portraits")
    assert job.workflow

    for term in (str(job.pk), str(job.workflow_id), job.workflow.workflow_id, str(event.pk)):
        assert found(operator, Event, q=term) == {event.pk}, term
    for term in ("gpu-", "upscale"):
        assert found(operator, Worker, q=term) == {worker.pk}, term
    for term in (key.pk, f"afd_{key.pk}", text):
        assert found(operator, ApiKey, q=term) == {key.pk}, term
    assert found(operator, Collection, q="portrait") == {collection.pk}
    assert found(operator, Tenant, q="acm") == {tenant.pk}


def test_a_search_without_an_index_looks_at_the_newest_only(
    operator: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "SEARCHED_ROWS", 2)
    old, *_, new = [make_job(tenant, actor_id="alice") for _ in range(3)]

    assert old.pk not in found(operator, Job, q="alice")
    assert new.pk in found(operator, Job, q="alice")
    assert found(operator, Job, q=str(old.pk)) == {old.pk}


def test_jobs_are_filtered(operator: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    make_worker(tenant, services=["upscale"])
    ours = make_job(tenant, service_required="upscale", status="failed", problem_type="timed_out")
    theirs = make_job(other_tenant)
    platform = make_job()

    assert found(operator, Job, status__exact="failed") == {ours.pk}
    assert found(operator, Job, tenant="acme") == {ours.pk}
    assert found(operator, Job, tenant="-") == {platform.pk}
    assert found(operator, Job, kind="system.ping") == {theirs.pk, platform.pk}
    assert found(operator, Job, service="upscale") == {ours.pk}
    assert found(operator, Job, problem_type__exact="timed_out") == {ours.pk}
    assert found(operator, Job, created="hour") == {ours.pk, theirs.pk, platform.pk}


def test_the_time_a_job_was_made_is_read_off_its_key(operator: Client, tenant: Tenant) -> None:
    from jobs.ids import first_id_of

    old = make_job(tenant, id=first_id_of(timezone.now() - timedelta(hours=2)))
    new = make_job(tenant)

    assert found(operator, Job, created="hour") == {new.pk}
    assert found(operator, Job, created="day") == {old.pk, new.pk}


def test_filters_offer_what_is_known_without_a_look_at_the_table(operator: Client, tenant: Tenant) -> None:
    make_worker(tenant, services=["upscale"])
    make_collection(tenant, steps=STEPS)
    make_service("recorded")
    make_job(tenant, service_required="only-on-a-job")

    specs = {spec.title: spec for spec in operator.get(list_of(Job)).context["cl"].filter_specs}

    assert [value for value, _ in specs["service"].lookup_choices] == ["artgen", "recorded", "upscale"]
    assert ("system.ping", "system.ping") in specs["kind"].lookup_choices
    assert specs["tenant"].lookup_choices == [("acme", "acme"), ("-", "the platform itself")]


def test_workers_are_filtered_by_presence(operator: Client, tenant: Tenant) -> None:
    here = make_worker(tenant)
    gone = make_worker(tenant, last_seen_at=timezone.now() - timedelta(minutes=5))

    assert found(operator, Worker, presence="online") == {here.pk}
    assert found(operator, Worker, presence="offline") == {gone.pk}


# --- Words for times --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (4.31, "4.3 s"),
        (59, "59 s"),
        (60, "1 min"),
        (184, "3 min 4 s"),
        (900, "15 min"),
        (7_500, "2 h 5 min"),
        (86_400 * 12, "12 d"),
    ],
)
def test_a_span_reads_in_its_largest_units(seconds: float, text: str) -> None:
    assert displays.span(timedelta(seconds=seconds)) == text


def test_a_moment_is_rough_and_has_the_exact_time_on_hover() -> None:
    at = timezone.now() - timedelta(minutes=3, seconds=20)

    html = displays.moment(at)

    assert html is not None
    assert ">3 min ago<" in html
    assert f'title="{at:%Y-%m-%d %H:%M:%S} UTC"' in html


def test_superusers_find_their_users(operator: Client, db: None) -> None:
    assert found(operator, User, q="user-")
