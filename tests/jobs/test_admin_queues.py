"""Queues and clusters in the admin: what they show and cost, and how an operator pauses and limits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import get_messages
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from jobs.admin import displays, queue_page
from jobs.admin import queues as queue_admin
from jobs.models import AuditEntry, Cluster, Job, Queue, Tenant, Worker
from jobs.queue.enqueue import enqueue_job
from jobs.rollups.folding import fold, sample_queues
from jobs.services.queues import pause_queue
from jobs.testing import RunJobs
from tests.factories import (
    make_cluster,
    make_job,
    make_operator,
    make_service,
    make_silent_cluster,
    make_superuser,
    make_worker,
)

QUEUES = reverse("admin:jobs_queue_changelist")
ADD_QUEUE = reverse("admin:jobs_queue_add")
CLUSTERS = reverse("admin:jobs_cluster_changelist")
JOBS = reverse("admin:jobs_job_changelist")


@pytest.fixture
def operator(db: None) -> Client:
    """May look at queues and jobs and change queues, and nothing else."""
    return client_of(make_operator("jobs.view_queue", "jobs.change_queue", "jobs.view_job", name="alice"))


@pytest.fixture
def superuser(db: None) -> Client:
    return client_of(make_superuser("root"))


@pytest.fixture
def default(db: None) -> Queue:
    return Queue.objects.get(name="default", is_remote=False)


@pytest.fixture(autouse=True)
def _known_content_types(db: None) -> None:
    """Django caches these: only the first page of a process asks for them."""
    ContentType.objects.get_for_models(*apps.get_models())


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page_of(row: Model) -> str:
    return reverse(f"admin:jobs_{row._meta.model_name}_change", args=[row.pk])


def shown(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def act(client: Client, action: str, *queues: Queue, **fields: str) -> Any:
    posted = {"action": action, "_selected_action": [str(queue.pk) for queue in queues], **fields}
    return client.post(QUEUES, posted)


def told(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def listed(client: Client, queue: Queue) -> Any:
    """A queue as its list shows it."""
    rows = client.get(QUEUES).context["cl"].result_list
    return next(row for row in rows if row.pk == queue.pk)


# --- What is shown ----------------------------------------------------------------------------------


def test_the_list_counts_what_runs_and_what_is_due(
    operator: Client, tenant: Tenant, other_tenant: Tenant, default: Queue
) -> None:
    ago = timezone.now() - timedelta(hours=2)
    service = make_service("default")  # a service of the same name is another queue
    make_job(tenant, run_at=ago)
    make_job(run_at=timezone.now() - timedelta(minutes=1))
    make_job(tenant, run_at=timezone.now() + timedelta(hours=1))
    make_job(tenant, status="running")
    make_job(tenant, status="failed")
    for owner in (tenant, other_tenant):
        make_job(owner, service_required="default")
        make_job(owner, service_required="default", status="running")
    sample_queues()

    in_house, remote = listed(operator, default), listed(operator, service)

    assert (in_house.running_count, remote.running_count) == (1, 2)
    assert (in_house.due_count, in_house.later_count, in_house.oldest_due_at) == (2, 1, ago)
    assert remote.due_count == 2
    assert "2 h ago" in shown(operator, QUEUES)


def test_a_queue_without_work_has_none(operator: Client, default: Queue) -> None:
    sample_queues()

    html = shown(operator, page_of(default))

    assert "0 without limit" in html
    assert "No queue" not in html


def test_a_queues_page_tells_how_fresh_its_leases_are(operator: Client, tenant: Tenant) -> None:
    service, now = make_service("artgen"), timezone.now()
    fresh, lapsed = (
        make_job(
            tenant,
            service_required="artgen",
            status="running",
            worker=worker,
            started_at=now - timedelta(minutes=5),
            lease_expires_at=now + left,
        )
        for worker, left in (("gpu-1", timedelta(seconds=21)), ("gpu-2", -timedelta(seconds=40)))
    )
    make_job(tenant, status="running")

    held = queue_page.held_jobs(queue_page.running_of(service))

    assert [row["key"] for row in held] == [str(lapsed.pk), str(fresh.pk)]  # what is about to be lost first
    assert [row["is_lapsed"] for row in held] == [True, False]
    assert held[0]["lease"].startswith("lapsed 40 s ago")
    assert held[1]["lease"].startswith("ends in 20 s, renewed 9.")
    html = shown(operator, page_of(service))
    assert "gpu-2: lease lapsed" in html
    assert "5 min" in html


def test_a_queues_page_tells_who_serves_it(superuser: Client, tenant: Tenant, default: Queue) -> None:
    service = make_service("artgen")
    nobody = shown(superuser, page_of(service))
    worker, other = make_worker(tenant, services=["artgen"]), make_worker(tenant, services=["upscale"])
    cluster, process = make_cluster("default"), make_worker(None, services=[], queue="default")

    remote, in_house = shown(superuser, page_of(service)), shown(superuser, page_of(default))

    assert "No worker offers this service" in nobody
    assert (worker.worker_id in remote, other.worker_id in remote) == (True, False)
    assert str(cluster) in in_house
    assert process.worker_id in in_house


@pytest.mark.parametrize(("name", "is_remote"), [("default", False), ("system.ping", True)])
def test_a_queues_page_draws_what_ended(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, name: str, is_remote: bool
) -> None:
    # A service is counted by its name, a queue of the clusters by the kinds that run there.
    queue = make_service(name) if is_remote else Queue.objects.get(name=name)
    for _ in range(2):
        enqueue_job("system.ping", tenant_id=tenant.pk)
    run_jobs()
    fold()

    assert "Attempts ended per 10 minutes: completed 2, retried 0" in shown(operator, page_of(queue))


@pytest.mark.parametrize("model", [Queue, Worker, Cluster])
def test_the_live_part_of_a_page_is_its_own_and_for_who_may_see_it(
    superuser: Client, operator: Client, tenant: Tenant, model: type[Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    make: dict[Any, Callable[[], Model]] = {
        Queue: make_service,
        Worker: lambda: make_worker(tenant),
        Cluster: make_cluster,
    }
    row = make[model]()
    name = str(model._meta.model_name)
    url = reverse(f"admin:{name}_figures", args=[row.pk])
    stranger = client_of(make_operator())
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)  # both say how long ago things were

    page, part = shown(superuser, page_of(row)), shown(superuser, url)

    assert f'data-live="{url}" data-every="5"' in page
    assert part.strip() in page
    assert stranger.get(url).status_code == 403
    assert superuser.get(reverse(f"admin:{name}_figures", args=[10**9])).status_code == 404


def test_what_a_worker_runs_is_shown(superuser: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    # A remote worker's name is its tenant's choice; a process of a cluster works for all of them.
    remote = make_worker(tenant, worker_id="default@render-1:7")
    process = make_worker(None, worker_id="default@render-1:7", services=[], queue="default")
    held = make_job(tenant, service_required="artgen", status="running", worker=remote.worker_id)
    stranger = make_job(other_tenant, service_required="artgen", status="running", worker=remote.worker_id)
    in_house = make_job(other_tenant, status="running", worker=process.worker_id, progress=40)

    of_remote, of_process = (shown(superuser, page_of(row)) for row in (remote, process))

    shows = [[str(job.pk) in html for job in (held, stranger, in_house)] for html in (of_remote, of_process)]
    assert shows == [[True, False, False], [False, False, True]]
    assert "40 %" in of_process
    rows = superuser.get(reverse("admin:jobs_worker_changelist")).context["cl"].result_list
    assert {row.pk: row.held_count for row in rows} == {remote.pk: 1, process.pk: 1}


def test_what_a_cluster_runs_is_shown(superuser: Client, tenant: Tenant) -> None:
    cluster = make_cluster("default", hostname="render-1")
    process = make_worker(None, worker_id="default@render-1:7", services=[], queue="default")
    held = make_job(tenant, status="running", worker=process.worker_id)
    elsewhere = make_job(tenant, status="running", worker="default@render-2:7")

    html = shown(superuser, page_of(cluster))

    assert (str(held.pk) in html, str(elsewhere.pk) in html) == (True, False)
    assert process.worker_id in html


def test_a_paused_queue_says_since_when_and_by_whom(operator: Client, default: Queue) -> None:
    pause_queue(default, by="bob")
    Queue.objects.filter(pk=default.pk).update(paused_at=timezone.now() - timedelta(hours=12))

    assert "for 12 h, by bob" in shown(operator, QUEUES)
    for url in (QUEUES, page_of(default)):
        assert displays.badge("paused") in shown(operator, url)
    assert "bob" in shown(operator, page_of(default))


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_queues_page_leads_to_its_jobs(operator: Client, tenant: Tenant, is_remote: bool) -> None:
    queue = make_service("webhooks") if is_remote else Queue.objects.get(name="webhooks")
    theirs = [
        make_job(tenant, queue="webhooks", service_required="webhooks" if is_remote else "", status=status)
        for status in ("queued", "running")
    ]
    make_job(tenant, queue="webhooks", service_required="" if is_remote else "webhooks")
    make_job(tenant)

    html = shown(operator, page_of(queue))

    for job in theirs:
        url = queue_admin.jobs_url(queue, job.status)
        assert displays.anchor(url, "").split('">')[0] in html
        found = operator.get(url).context["cl"].result_list
        assert [row.pk for row in found] == [job.pk]


def test_a_queues_page_leads_nowhere_that_is_closed(default: Queue) -> None:
    client = client_of(make_operator("jobs.view_queue"))

    assert f"{JOBS}?" not in shown(client, page_of(default))


def test_a_waiting_jobs_page_says_that_its_queue_is_paused(
    operator: Client, tenant: Tenant, default: Queue
) -> None:
    queued, running = make_job(tenant), make_job(tenant, status="running")
    remote = make_job(tenant, service_required="default")
    pause_queue(default, by="bob")

    badge = displays.badge("queue paused")
    shows = {
        job.pk: badge in shown(operator, reverse("admin:jobs_job_change", args=[job.pk]))
        for job in (queued, running, remote)
    }

    assert shows == {queued.pk: True, running.pk: False, remote.pk: False}


def test_clusters_are_shown_beating_or_silent(superuser: Client) -> None:
    beating = make_cluster("webhooks")
    silent = make_silent_cluster(hostname="render-2", problem="Its <b>sentinel</b> has died.")

    html = shown(superuser, CLUSTERS)

    for word in ("beating", "silent", "for 3 min", "render-2", "Its &lt;b&gt;sentinel&lt;/b&gt; has died."):
        assert word in html
    assert displays.badge("beating") in shown(superuser, page_of(beating))
    assert "Its &lt;b&gt;sentinel&lt;/b&gt; has died." in shown(superuser, page_of(silent))
    for term, found in (("webhooks", beating), ("render-2", silent)):
        rows = superuser.get(CLUSTERS, {"q": term}).context["cl"].result_list
        assert [row.pk for row in rows] == [found.pk]


def test_no_clusters_are_no_fault(superuser: Client) -> None:
    assert "runs the jobs of a queue" in shown(superuser, CLUSTERS)


def test_the_overview_warns_of_paused_queues_and_silent_clusters(superuser: Client, default: Queue) -> None:
    make_cluster()
    assert "Needs attention" not in shown(superuser, reverse("admin:index"))

    silent = make_silent_cluster(hostname="render-2")
    pause_queue(default, by="bob")
    html = shown(superuser, reverse("admin:index"))

    assert "Needs attention" in html
    assert "paused by bob" in html
    for row in (silent, default):
        assert f'href="{page_of(row)}"' in html


def test_the_overview_warns_only_who_may_look(operator: Client, default: Queue) -> None:
    pause_queue(default, by="bob")
    make_silent_cluster(hostname="render-2")

    of_queues = shown(operator, reverse("admin:index"))
    of_workers = shown(client_of(make_operator("jobs.view_worker")), reverse("admin:index"))

    assert "paused by bob" in of_queues
    assert "render-2" not in of_queues
    assert "Needs attention" not in of_workers


# --- What it costs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 20])
def test_the_lists_cost_the_same_however_long(
    superuser: Client, tenant: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    for number in range(count):
        make_service(f"artgen-{number}")
        make_job(tenant, service_required=f"artgen-{number}")
        make_job(tenant, service_required=f"artgen-{number}", status="running")
        make_cluster()

    page = page_of(Queue.objects.get(name="artgen-0"))

    with django_assert_num_queries(9):  # session, account, saved views, count, rows, and what bounds them
        shown(superuser, CLUSTERS)
    with django_assert_num_queries(6):  # session, account, its restriction, counts, rows
        shown(superuser, QUEUES)
    with django_assert_num_queries(8):  # and what runs, since when, who serves it, what ended
        shown(superuser, page)


# --- Pause, resume, limit ---------------------------------------------------------------------------


def test_pausing_tells_what_was_done_and_what_refused(operator: Client, default: Queue) -> None:
    service = make_service("artgen")
    pause_queue(service, by="bob")

    response = act(operator, "pause_queues", default, service)

    for queue in (default, service):
        queue.refresh_from_db()
    assert (default.is_paused, default.paused_by, service.paused_by) == (True, "alice", "bob")
    assert told(response) == [
        "1 queue paused: what runs goes on, nothing more starts.",
        "1 queue refused: paused before.",
    ]
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message, entry.user.get_username()) == (
        str(default.pk),
        "Paused.",
        "alice",
    )


def test_resuming_tells_what_was_done_and_what_refused(operator: Client, default: Queue) -> None:
    service = make_service("artgen")
    pause_queue(service, by="bob")

    response = act(operator, "resume_queues", default, service)

    service.refresh_from_db()
    assert (service.is_paused, service.paused_by) == (False, "")
    assert told(response) == ["1 queue resumed.", "1 queue refused: not paused."]
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (str(service.pk), "Resumed.")


def test_pausing_and_limiting_are_audited_with_their_reasons(operator: Client, default: Queue) -> None:
    act(operator, "pause_queues", default, reason="The printer\x00 burns.")
    act(operator, "pause_queues", default, reason="Again.")  # changes nothing
    act(operator, "resume_queues", default)
    operator.post(page_of(default), {"max_running": "3", "reason": "It overheats."})
    operator.post(page_of(default), {"max_running": "3", "reason": "Nothing new."})

    entries = AuditEntry.objects.order_by("id").values_list("actor", "action", "before", "after", "reason")

    free, held = {"is_paused": False, "paused_by": ""}, {"is_paused": True, "paused_by": "alice"}
    assert list(entries) == [
        ("alice", "pause", free, held, "The printer\ufffd burns."),
        ("alice", "resume", held, free, ""),
        ("alice", "limit", {"max_running": None}, {"max_running": 3}, "It overheats."),
    ]


def test_acting_from_a_queues_page_leads_back_to_it(operator: Client, default: Queue) -> None:
    assert 'value="pause_queues"' in shown(operator, page_of(default))

    response = act(operator, "pause_queues", default, from_page="1")

    assert response["Location"] == page_of(default)
    html = shown(operator, page_of(default))
    assert 'value="resume_queues"' in html
    assert 'value="pause_queues"' not in html


@pytest.mark.parametrize(("text", "limit"), [("3", 3), ("", None)])
def test_a_limit_is_set_and_taken_off(operator: Client, default: Queue, text: str, limit: int | None) -> None:
    Queue.objects.filter(pk=default.pk).update(max_running=7)

    response = operator.post(
        page_of(default), {"max_running": text, "name": "renamed", "is_remote": "on", "paused_by": "me"}
    )

    default.refresh_from_db()
    assert response["Location"] == QUEUES
    assert (default.max_running, default.name, default.is_remote) == (limit, "default", False)
    assert default.paused_by == ""
    message = LogEntry.objects.get().get_change_message()
    assert message == ("Limited to 3." if limit else "Limit taken off.")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "99999999999"])
def test_a_wrong_limit_is_refused(operator: Client, default: Queue, text: str) -> None:
    response = operator.post(page_of(default), {"max_running": text})

    default.refresh_from_db()
    assert response.context["adminform"].form.errors["max_running"]
    assert default.max_running is None


def test_a_viewer_is_shown_no_verb_and_no_form(default: Queue) -> None:
    client = client_of(make_operator("jobs.view_queue"))

    html = shown(client, page_of(default))

    assert "pause_queues" not in html
    assert 'name="max_running"' not in html


# --- Records made and deleted -----------------------------------------------------------------------


def test_a_service_is_added(superuser: Client) -> None:
    response = superuser.post(ADD_QUEUE, {"name": "default", "max_running": "2"})

    assert response.status_code == 302
    service = Queue.objects.get(name="default", is_remote=True)
    assert (service.max_running, service.is_paused) == (2, False)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.after) == ("add", {"name": "default", "max_running": 2})
    assert Queue.objects.get(name="default", is_remote=False).max_running is None


@pytest.mark.parametrize("name", ["", "artgen", "two words", "a\x00b", "<b>", "x" * 101])
def test_a_wrong_or_known_service_is_refused(superuser: Client, name: str) -> None:
    make_service("artgen")

    response = superuser.post(ADD_QUEUE, {"name": name})

    assert response.context["adminform"].form.errors["name"]
    assert Queue.objects.filter(is_remote=True).count() == 1


def test_a_services_record_is_deleted_and_its_jobs_stay(superuser: Client, tenant: Tenant) -> None:
    service = make_service("artgen")
    job = make_job(tenant, service_required="artgen")
    url = reverse("admin:jobs_queue_delete", args=[service.pk])

    asked = shown(superuser, url)
    superuser.post(url, {"post": "yes"})

    assert "Its jobs stay." in asked
    assert not Queue.objects.filter(pk=service.pk).exists()
    assert Job.objects.filter(pk=job.pk).exists()


def test_a_queue_of_the_clusters_is_not_deleted(superuser: Client, default: Queue) -> None:
    response = superuser.post(reverse("admin:jobs_queue_delete", args=[default.pk]), {"post": "yes"})
    act(superuser, "delete_selected", default, post="yes")

    assert response.status_code == 403
    assert Queue.objects.filter(pk=default.pk).exists()


def test_a_clusters_record_is_deleted_by_who_may(superuser: Client) -> None:
    cluster = make_silent_cluster()
    viewer = client_of(make_operator("jobs.view_cluster"))
    url = reverse("admin:jobs_cluster_delete", args=[cluster.pk])

    refused = viewer.post(url, {"post": "yes"})
    assert url not in shown(viewer, page_of(cluster))
    assert url in shown(superuser, page_of(cluster))
    superuser.post(url, {"post": "yes"})

    assert refused.status_code == 403
    assert not Cluster.objects.exists()
