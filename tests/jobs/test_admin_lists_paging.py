"""How far lists look, how they are paged, and that nothing is out of reach."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.db.models import Func, QuerySet
from django.db.models.fields import TextField
from django.test import Client
from django.urls import reverse

from jobs.admin import records
from jobs.admin.jobs import JobAdmin
from jobs.admin.lists import changelist, scans
from jobs.models import Event, Job, Tenant
from tests.factories import make_event, make_job, make_superuser

JOBS = reverse("admin:jobs_job_changelist")
EVENTS = reverse("admin:jobs_event_changelist")


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_superuser())
    return client


@pytest.fixture(autouse=True)
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records.RecordAdmin, "list_per_page", 3)


def page(client: Client, url: str = "", *, path: str = JOBS) -> Any:
    response = client.get(f"{path}{url}")
    assert response.status_code == 200
    changelist = response.context["cl"]
    changelist.html = response.content.decode()
    return changelist


def shown(changelist: Any) -> list[Any]:
    return [row.pk for row in changelist.result_list]


def walk(client: Client, url: str, *, path: str = JOBS) -> list[Any]:
    """All rows from there on, page by page."""
    found: list[Any] = []
    for _ in range(50):
        here = page(client, url, path=path)
        found += shown(here)
        url = here.older_url or here.further_url
        if not url:
            return found
    raise AssertionError("There is no end to it.")


# --- Pages ------------------------------------------------------------------------------------------


def test_pages_go_on_from_the_last_row_and_back(operator: Client, tenant: Tenant) -> None:
    jobs = [make_job(tenant).pk for _ in range(8)][::-1]

    first = page(operator)
    second = page(operator, first.older_url)
    third = page(operator, second.older_url)
    back = page(operator, third.newer_url)

    assert [shown(each) for each in (first, second, third)] == [jobs[:3], jobs[3:6], jobs[6:]]
    assert shown(back) == jobs[3:6]
    assert shown(page(operator, back.newer_url)) == jobs[:3]
    assert shown(page(operator, back.older_url)) == jobs[6:]
    assert (first.newest_url, first.newer_url, third.older_url) == ("", "", "")
    assert third.newest_url == "?"


def test_pages_keep_their_place_while_rows_are_added(operator: Client, tenant: Tenant) -> None:
    jobs = [make_job(tenant).pk for _ in range(6)][::-1]
    first = page(operator)

    added = [make_job(tenant).pk for _ in range(4)][::-1]
    second = page(operator, first.older_url)
    newer = page(operator, second.newer_url)
    newest = page(operator, newer.newer_url)

    assert shown(second) == jobs[3:]
    assert shown(newer) == jobs[:3]
    assert shown(newest) == added[1:]
    assert newest.newer_url
    assert shown(page(operator, newest.newer_url)) == added[:1]


def test_pages_keep_what_is_filtered(operator: Client, tenant: Tenant) -> None:
    failed = [make_job(tenant, status="failed").pk for _ in range(4)][::-1]
    make_job(tenant)

    first = page(operator, "?status=failed&q=system.ping")

    assert shown(first) == failed[:3]
    assert dict(parse_qsl(first.older_url[1:])) == {
        "status": "failed",
        "q": "system.ping",
        "before": str(failed[2]),
    }
    assert shown(page(operator, first.older_url)) == failed[3:]


@pytest.mark.parametrize(
    "query", ["?status=queued", "?status=failed,cancelled", "?tenant=acme", "?service__not=x"]
)
def test_every_row_is_reached_by_whatever_index(operator: Client, tenant: Tenant, query: str) -> None:
    rows = [make_job(tenant, status=status) for status in ("queued", "failed", "cancelled") * 4]
    wanted = {
        "?status=queued": ["queued"],
        "?status=failed,cancelled": ["failed", "cancelled"],
    }.get(query, ["queued", "failed", "cancelled"])

    assert walk(operator, query) == [row.pk for row in reversed(rows) if row.status in wanted]


def test_a_place_beyond_all_rows_leads_back(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant)

    below = page(operator, f"?before={job.pk}")
    above = page(operator, f"?after={job.pk}")

    assert shown(below) == shown(above) == []
    assert "Nothing further" in below.html
    assert below.newest_url == "?"


def test_rows_with_numbers_are_paged_too(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant)
    events = [make_event(job).pk for _ in range(7)][::-1]

    assert walk(operator, "", path=EVENTS) == events
    assert walk(operator, "?type=log", path=EVENTS) == events


def test_no_list_skips_rows_by_counting_them(
    operator: Client, tenant: Tenant, django_assert_max_num_queries: Any
) -> None:
    for _ in range(8):
        make_job(tenant)

    with django_assert_max_num_queries(30) as captured:
        page(operator, page(operator).older_url)

    assert not [query["sql"] for query in captured.captured_queries if "OFFSET" in query["sql"]]


# --- Counts -----------------------------------------------------------------------------------------


def test_a_long_list_is_counted_only_so_far(
    operator: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changelist, "COUNTED_ROWS", 5)
    for _ in range(5):
        make_job(tenant)
    exact = page(operator)

    make_job(tenant)
    capped = page(operator)

    assert (str(exact.result_count), str(capped.result_count)) == ("5", "5+")
    assert "<p>5+ jobs</p>" in capped.html
    assert len(walk(operator, "")) == 6


# --- Windows ----------------------------------------------------------------------------------------


@pytest.fixture
def _four_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "SEARCHED_ROWS", 4)
    monkeypatch.setattr(scans, "SEARCHED_DOCUMENTS", 2)


@pytest.mark.usefixtures("_four_rows_at_a_time")
@pytest.mark.parametrize(
    "query", ["?worker=gpu", "?q=gpu", "?worker__not=x", "?payload=a=1", "?payload__not=b"]
)
def test_what_no_index_finds_is_looked_for_a_window_at_a_time(
    operator: Client, tenant: Tenant, query: str
) -> None:
    worker = {"worker": "gpu", "payload": {"a": 1}}
    other = {"worker": "x", "payload": {"b": 1}}
    jobs = [make_job(tenant, status="completed", **(worker if n % 5 == 0 else other)) for n in range(11)]

    first = page(operator, query)

    assert first.looked_through == (2 if "payload" in query else 4)
    assert "Looked through the newest" in first.html
    assert first.looked_back_to is not None
    assert walk(operator, query) == [jobs[10].pk, jobs[5].pk, jobs[0].pk]


@pytest.mark.usefixtures("_four_rows_at_a_time")
def test_an_empty_window_says_that_there_is_more_to_look_at(operator: Client, tenant: Tenant) -> None:
    old = make_job(tenant, actor_id="alice")
    for _ in range(6):
        make_job(tenant)

    nothing = page(operator, "?actor=alice")

    assert shown(nothing) == []
    assert "Older ones were not looked at yet" in nothing.html
    assert shown(page(operator, nothing.further_url)) == [old.pk]


@pytest.mark.usefixtures("_four_rows_at_a_time")
def test_a_window_counts_among_the_rows_of_an_index(operator: Client, tenant: Tenant) -> None:
    wanted = make_job(tenant, status="failed", worker="gpu")
    for number in range(9):
        make_job(tenant, status="failed" if number % 3 == 0 else "completed", worker="x")

    here = page(operator, "?status=failed&worker=gpu")

    assert shown(here) == [wanted.pk]  # the fourth of those that have failed, and the tenth of all
    assert here.looked_through == 0  # there are no more than four of them


@pytest.mark.usefixtures("_four_rows_at_a_time")
def test_what_indexes_lead_to_needs_no_window(operator: Client, tenant: Tenant) -> None:
    for _ in range(9):
        make_job(tenant, status="failed", problem_type="timed_out", worker="gpu")
        make_job(tenant, worker="gpu")

    for query in (
        "",
        "?status=failed",
        "?status=queued",
        "?problem_type=timed_out",
        "?tenant=acme",
        "?created=hour",
    ):
        assert page(operator, query).looked_through == 0, query
    assert page(operator, "?status=queued&kind=system.ping").looked_through == 0  # few enough to look at all


@pytest.mark.usefixtures("_four_rows_at_a_time")
def test_windows_go_upwards_too(operator: Client, tenant: Tenant) -> None:
    jobs = [make_job(tenant, worker="gpu" if n in (0, 9) else "x") for n in range(10)]

    here = page(operator, f"?worker=gpu&after={jobs[0].pk}")

    assert shown(here) == []
    further = page(operator, here.further_url)
    assert shown(page(operator, further.further_url)) == [jobs[9].pk]


# --- Time -------------------------------------------------------------------------------------------


class Sleeps(Func):
    function = "pg_sleep"
    template = "%(function)s(2)::text"
    output_field = TextField()


def test_a_list_that_takes_too_long_is_given_up_on(
    operator: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(self: JobAdmin, rows: QuerySet[Job], term: str) -> QuerySet[Job]:
        return rows.annotate(slept=Sleeps()).filter(slept="never")

    monkeypatch.setattr(records, "READ_MILLISECONDS", 100)
    monkeypatch.setattr(JobAdmin, "find", find)
    make_job(tenant)

    slow = operator.get(JOBS, {"q": "x"})

    assert slow.status_code == 503
    assert "This takes too long" in slow.content.decode()
    assert operator.get(JOBS).status_code == 200
    assert Event.objects.count() == 0  # the connection is as good as before
