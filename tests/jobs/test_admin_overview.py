"""The overview: each card from what really happened, for those who may see it, at a fixed cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from jobs.admin.overview.sight import Sight
from jobs.admin.overview.tiles import rate_of, seconds_of
from jobs.evaluator.runs import evaluate
from jobs.models import AuditEntry, BulkOperation, EvaluationRun, Queue, QueueGauge, Tenant
from jobs.queue import handlers
from jobs.queue.enqueue import enqueue_job
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import NoPayload, PermanentError, handler
from jobs.rollups.folding import fold, sample_queues
from jobs.rollups.reading import WINDOWS
from jobs.services.queues import pause_queue
from jobs.testing import RunJobs
from tests.factories import (
    make_cluster,
    make_job,
    make_operator,
    make_restricted,
    make_service,
    make_silent_cluster,
    make_superuser,
    make_worker,
    make_workflow,
)

OVERVIEW = reverse("admin:index")
FIGURES = reverse("admin:overview_figures")
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')  # no two answers have the same
ALL = ("workflow", "job", "worker", "queue", "cluster", "evaluationrun")


@pytest.fixture
def operator(db: None) -> Client:
    """May look at all of the ground floor and pause queues."""
    rights = [f"jobs.view_{noun}" for noun in ALL]
    return client_of(make_operator(*rights, "jobs.change_queue", name="alice"))


@pytest.fixture
def superuser(db: None) -> Client:
    return client_of(make_superuser("root"))


@pytest.fixture(autouse=True)
def _known_content_types(db: None) -> None:
    """Django caches these: only the first page of a process asks for them."""
    ContentType.objects.get_for_models(*apps.get_models())


@pytest.fixture
def failing() -> Iterator[str]:
    """A kind whose jobs fail for good."""

    def fail(envelope: JobEnvelope[NoPayload]) -> None:
        raise PermanentError("Printer 7 is on fire.", code="on_fire")

    handler("test.print", payload=NoPayload)(fail)
    yield "test.print"
    handlers.unregister("test.print")


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def tenant_operator(tenant: Tenant, *nouns: str) -> Client:
    """An operator who is restricted to a tenant."""
    user = make_operator(*[f"jobs.view_{noun}" for noun in nouns or ALL], "jobs.change_queue")
    return client_of(make_restricted(user, tenant))


def shown(client: Client, url: str = OVERVIEW) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return unescape(response.content.decode())


def card(client: Client, name: str, **query: str) -> Any:
    return client.get(OVERVIEW, query).context[name]


def tiles(client: Client, **query: str) -> dict[str, str]:
    return {tile["key"]: tile["figure"] for tile in card(client, "tiles", **query)}


def end_some(run_jobs: RunJobs, tenant: Tenant, failing: str) -> None:
    """Three jobs that complete and one that fails, counted."""
    for _ in range(3):
        enqueue_job("system.ping", tenant_id=tenant.pk)
    enqueue_job(failing, tenant_id=tenant.pk)
    run_jobs()
    fold()


# --- What the cards say ------------------------------------------------------------------------------


def test_the_tiles_tell_what_goes_on_and_what_came_of_it(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, failing: str
) -> None:
    end_some(run_jobs, tenant, failing)
    make_job(tenant, status="running")
    make_job(tenant, run_at=timezone.now() - timedelta(hours=2))
    make_job(tenant, run_at=timezone.now() + timedelta(hours=1))
    sample_queues()

    found = tiles(operator)

    assert {name: found[name] for name in ("running", "queued", "oldest due", "completed", "failed")} == {
        "running": "1",
        "queued": "1",
        "oldest due": "2 h",
        "completed": "3",
        "failed": "1",
    }
    assert found["failure rate"] == "25 %"
    assert found["p95 wait"].endswith("s")
    assert found["p95 run"].endswith("s")


def test_every_tile_leads_somewhere(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, failing: str
) -> None:
    end_some(run_jobs, tenant, failing)
    html = shown(operator)

    for tile in card(operator, "tiles"):
        if tile["url"].startswith("#"):
            assert f'id="{tile["url"][1:]}"' in html
        else:
            assert operator.get(tile["url"], follow=True).status_code == 200
    (failed,) = [tile["url"] for tile in card(operator, "tiles") if tile["key"] == "failed"]
    rows = operator.get(failed, follow=True).context["cl"].result_list
    assert [row.kind for row in rows] == [failing]


def test_a_window_is_in_the_address_and_decides_what_is_counted(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, failing: str
) -> None:
    end_some(run_jobs, tenant, failing)

    for name, window in WINDOWS.items():
        response = operator.get(OVERVIEW, {"window": name})
        assert response.context["window"] == window
        assert f'href="?window={name}" aria-current="true"' in response.content.decode()
        assert tiles(operator, window=name)["completed"] == "3"
    assert card(operator, "window", window="century") == WINDOWS["hour"]


def test_the_charts_show_attempts_as_they_ended(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, failing: str
) -> None:
    end_some(run_jobs, tenant, failing)

    html = shown(operator)

    assert "Attempts ended: completed 3, retried 0, failed 1, cancelled 0." in html
    assert "Attempts failed: retried 0, failed 1." in html


def test_latency_is_told_by_kind(operator: Client, tenant: Tenant, run_jobs: RunJobs, failing: str) -> None:
    end_some(run_jobs, tenant, failing)

    rows = {row["name"]: row for row in card(operator, "latency")["rows"]}

    assert [rows[kind]["attempts"] for kind in ("system.ping", failing)] == ["3", "1"]
    assert [rows[kind]["rate"] for kind in ("system.ping", failing)] == ["0 %", "100 %"]
    assert all("–" not in [*row["waited"], *row["ran"]] for row in rows.values())


def test_failing_kinds_come_with_their_errors(
    superuser: Client, tenant: Tenant, run_jobs: RunJobs, failing: str
) -> None:
    end_some(run_jobs, tenant, failing)

    (row,) = card(superuser, "errors")["rows"]

    assert (row["name"], row["count"]) == (failing, "1")
    (error,) = row["errors"]
    assert error["message"] == "Printer <n> is on fire."
    assert "on fire" in shown(superuser, error["url"])


def test_verdicts_are_compared_with_the_window_before(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, failing: str
) -> None:
    enqueue_job(failing, tenant_id=tenant.pk)
    run_jobs()
    evaluate()
    fold()

    found = card(operator, "verdicts")

    assert [(each["count"], each["change"]) for each in found["categories"]] == [
        ("0", "as before"),
        ("0", "as before"),
        ("1", "+1"),
    ]
    (problem,) = found["problems"]
    assert (problem["name"], problem["count"], problem["has_grown"]) == ("worker failed", "1", True)
    assert operator.get(problem["jobs"], follow=True).context["cl"].result_list


def test_operations_under_way_are_shown(superuser: Client, db: None) -> None:
    fields: dict[str, Any] = {"model": "jobs.Job", "verb": "retry_jobs", "title": "Retry", "total_count": 500}
    for status in ("running", "completed"):
        BulkOperation.objects.create(status=status, actor="alice", user_id=1, keys=[], **fields)

    (row,) = card(superuser, "operations")["rows"]

    assert row["text"] == "0 of 500"


def test_on_a_fresh_platform_it_says_what_to_do_first(
    superuser: Client, tenant: Tenant, run_jobs: RunJobs
) -> None:
    enqueue_job("system.ping")  # the platform's own work is nobody's beginning
    run_jobs()
    fresh = shown(superuser)
    make_job(tenant)

    begun = shown(superuser)

    assert "Begin here" in fresh
    assert reverse("admin:jobs_apikey_changelist") in fresh
    assert "Begin here" not in begun


@pytest.mark.parametrize(
    ("failed", "completed", "text"),
    [(0, 0, "–"), (0, 9, "0 %"), (1, 9_999, "< 0.1 %"), (1, 99, "1.0 %"), (1, 1, "50 %")],
)
def test_a_rate_never_calls_something_nothing(failed: int, completed: int, text: str) -> None:
    assert rate_of(failed, completed) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.0012, "1.2 ms"), (0.25, "250 ms"), (0.9999, "1.0 s"), (90.0, "1 min 30 s")],
)
def test_a_latency_is_short(seconds: float | None, text: str) -> None:
    assert seconds_of(seconds) == text


# --- Warnings ----------------------------------------------------------------------------------------


def warned(client: Client) -> list[str]:
    return [unescape(str(row["title"])) for row in card(client, "warnings")]


def test_it_warns_of_a_service_without_a_worker(
    operator: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    for owner in (tenant, other_tenant):
        make_job(owner, service_required="artgen")
    make_worker(tenant, services=["artgen"])
    make_worker(other_tenant, services=["artgen"], last_seen_at=timezone.now() - timedelta(minutes=5))
    sample_queues()

    (warning,) = [text for text in warned(operator) if "No worker" in text]

    assert "No worker for this service: artgen" in warning
    assert "globex · 1 job is due" in warning


def test_it_warns_of_a_queue_without_a_cluster(operator: Client, tenant: Tenant) -> None:
    make_job(tenant, queue="default")
    make_job(tenant, queue="webhooks")
    make_job(tenant, queue="proof-publishing", run_at=timezone.now() + timedelta(hours=1))
    make_cluster("default")
    make_silent_cluster("webhooks")
    sample_queues()

    (warning,) = [text for text in warned(operator) if "No cluster" in text]

    assert "No cluster for this queue: webhooks" in warning


@pytest.mark.parametrize(("minutes", "is_late"), [(14, False), (16, True)])
def test_it_warns_of_a_late_evaluator(operator: Client, minutes: int, is_late: bool) -> None:
    EvaluationRun.objects.create(started_at=timezone.now() - timedelta(minutes=minutes))

    html = shown(operator)

    assert ("The evaluator is late" in html) == is_late


def test_it_says_when_its_figures_are_old(operator: Client, tenant: Tenant) -> None:
    make_job(tenant)
    sample_queues()
    assert "These figures are old" not in shown(operator)

    QueueGauge.objects.update(sampled_at=timezone.now() - timedelta(minutes=2))

    assert "These figures are old" in shown(operator)


# --- Who sees what -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noun", "cards"),
    [
        ("job", {"tiles", "charts", "latency", "errors"}),
        ("queue", {"queues"}),
        ("worker", {"fleet"}),
        ("cluster", {"fleet"}),
        ("evaluationrun", {"fleet"}),
        ("workflow", {"workflows"}),
    ],
)
def test_a_card_is_shown_to_who_may_see_what_it_shows(
    db: None, tenant: Tenant, noun: str, cards: set[str]
) -> None:
    make_job(tenant)
    make_workflow(tenant)
    client = client_of(make_operator(f"jobs.view_{noun}"))

    context = client.get(OVERVIEW).context

    names = ("tiles", "charts", "queues", "latency", "verdicts", "errors", "operations", "fleet", "workflows")
    assert {name for name in names if context[name]} == cards


def test_the_fragment_asks_for_an_account_as_the_page_does(db: None) -> None:
    anonymous = Client().get(FIGURES)
    blind = shown(client_of(make_operator()), FIGURES)

    assert anonymous.status_code == 302
    assert "may look at nothing here yet" in blind


def test_a_restricted_account_sees_its_tenants_figures_alone(
    tenant: Tenant, other_tenant: Tenant, run_jobs: RunJobs, failing: str
) -> None:
    end_some(run_jobs, tenant, failing)
    enqueue_job("system.ping", tenant_id=other_tenant.pk)
    run_jobs()
    fold()
    for owner in (tenant, other_tenant):
        make_job(owner, service_required=f"of-{owner.slug}")
    sample_queues()
    client = tenant_operator(other_tenant)

    html, found = shown(client), tiles(client)

    assert (found["completed"], found["failed"], found["queued"]) == ("1", "0", "1")
    assert "of-globex" in html
    for hidden in ("of-acme", failing, "acme"):
        assert hidden not in html


def test_a_restricted_account_sees_nothing_of_the_platforms_own(tenant: Tenant) -> None:
    make_job(tenant)
    make_silent_cluster(hostname="render-2")
    pause_queue(Queue.objects.get(name="default"), by="bob")
    EvaluationRun.objects.create(started_at=timezone.now() - timedelta(hours=1))
    sample_queues()

    html = shown(tenant_operator(tenant))

    for hidden in (
        "render-2",
        "paused by bob",
        "pause_queues",
        "resume_queues",
        "evaluator",
        "Clusters that",
    ):
        assert hidden not in html
    assert "Queues and services" in html


# --- Pause and resume --------------------------------------------------------------------------------


def switch(client: Client, action: str, queue: Queue) -> Any:
    posted = {"action": action, "_selected_action": str(queue.pk), "from_overview": "day"}
    return client.post(reverse("admin:jobs_queue_changelist"), posted)


def test_a_queue_is_paused_and_resumed_from_the_overview(operator: Client) -> None:
    queue = Queue.objects.get(name="default")

    response = switch(operator, "pause_queues", queue)

    queue.refresh_from_db()
    assert response["Location"] == f"{OVERVIEW}?window=day"
    assert (queue.is_paused, queue.paused_by) == (True, "alice")
    assert "Resume default" in shown(operator)
    switch(operator, "resume_queues", queue)
    queue.refresh_from_db()
    assert not queue.is_paused
    entries = AuditEntry.objects.order_by("id").values_list("actor", "action", "object_text")
    assert list(entries) == [("alice", "pause", "default"), ("alice", "resume", "default")]


def test_a_viewer_has_no_button(db: None) -> None:
    client = client_of(make_operator("jobs.view_queue"))
    queue = Queue.objects.get(name="default")

    html = shown(client)
    switch(client, "pause_queues", queue)

    queue.refresh_from_db()
    assert "Queues and services" in html
    assert "pause_queues" not in html
    assert not queue.is_paused


# --- What it costs, and how it stays up to date ------------------------------------------------------


def test_the_fragment_is_the_part_of_the_page(
    operator: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_workflow(tenant)
    make_job(tenant)
    sample_queues()
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)

    page, fragment = (TOKEN.sub("", shown(operator, url)) for url in (OVERVIEW, FIGURES))

    assert f'data-live="{FIGURES}?window=hour" data-every="5"' in page
    assert fragment in page


@pytest.mark.parametrize("count", [1, 20])
def test_it_costs_the_same_however_much_there_is(
    operator: Client,
    tenant: Tenant,
    run_jobs: RunJobs,
    failing: str,
    django_assert_num_queries: DjangoAssertNumQueries,
    count: int,
) -> None:
    for number in range(count):
        end_some(run_jobs, tenant, failing)
        make_job(tenant, service_required=f"service-{number}")
        make_service(f"service-{number}")
        make_cluster()
        make_worker(tenant)
        make_workflow(tenant)
    sample_queues()

    with django_assert_num_queries(21):
        shown(operator, FIGURES)


def test_what_several_cards_show_is_read_once(
    db: None, rf: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    request = rf.get(OVERVIEW)
    request.user = make_superuser()
    sight = Sight(request, WINDOWS["hour"], timezone.now())
    assert sight.tenant is None

    with django_assert_num_queries(1):
        assert [queue.name for queue in sight.queues] == [queue.name for queue in sight.queues]
