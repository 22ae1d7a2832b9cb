"""The errors page: what fails for the same cause, who may see it, and all of it tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jobs.admin import errors
from jobs.models import ErrorGroup, Job, Measure, Rollup, Tenant
from jobs.models.jobs import PLATFORM
from jobs.models.rollups import EVERYONE
from tests.factories import make_error_group, make_job, make_operator, make_restricted, make_superuser

LIST = reverse("admin:jobs_errorgroup_changelist")
BROKEN = {"code": "broken", "message": "It broke at 7.", "traceback": "File engine.py, line 7"}


def page_of(group: ErrorGroup) -> str:
    return reverse("admin:jobs_errorgroup_change", args=[group.pk])


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(db: None) -> Client:
    return client_of(make_superuser())


def shown(client: Client, url: str, **query: Any) -> str:
    response = client.get(url, query)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def make_failed(group: ErrorGroup, count: int = 1, **fields: Any) -> list[Job]:
    fields = {"status": "failed", "error": BROKEN, "attempt": 1, "error_fingerprint": group.pk, **fields}
    return [make_job(group.tenant, **fields) for _ in range(count)]


def make_trend(group: ErrorGroup, *counts: int, scope: UUID | None = None) -> None:
    """Failed attempts in each of the last hours, the last of them now."""
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for scope_ in (group.tenant_id or PLATFORM, EVERYONE) if scope is None else (scope,):
        for back, count in enumerate(reversed(counts)):
            at = hour - timedelta(hours=back)
            Rollup.objects.create(
                grain=3_600, scope=scope_, measure=Measure.ERROR, at=at, name=group.name, key=str(group.pk), count=count
            )  # fmt: skip


# --- The list --------------------------------------------------------------------------------------


def test_the_list_shows_errors_newest_first_with_their_trend(operator: Client, tenant: Tenant) -> None:
    old = make_error_group(tenant, message="No room.", last_seen_at=timezone.now() - timedelta(days=2))
    new = make_error_group(message="", code="timed_out", count=12_345)
    make_trend(new, 3, 0, 5)

    response = operator.get(LIST)

    groups = list(response.context["cl"].result_list)
    assert groups == [new, old]
    assert groups[0].trend[-4:] == [0, 3, 0, 5]
    assert groups[1].trend == [0] * 24
    page = response.content.decode()
    assert "No room." in page
    assert "12,345" in page
    assert "8 in the last 24 hours, 5 at most in an hour" in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"tenant": "acme"}, {"mine"}),
        ({"tenant": "-"}, {"own", "old"}),
        ({"name": "artgen"}, {"mine"}),
        ({"code": "timed_out"}, {"old"}),
        ({"seen": "hour"}, {"mine", "own"}),
        ({"seen": "week"}, {"mine", "own", "old"}),
        ({"q": "no ROOM"}, {"mine"}),
        ({"q": "timed_out"}, {"old"}),
        ({"q": "artgen"}, {"mine"}),
        ({"q": "nothing of the kind"}, set()),
    ],
)
def test_the_list_is_filtered_and_searched(
    operator: Client, tenant: Tenant, query: dict[str, str], expected: set[str]
) -> None:
    long_ago = timezone.now() - timedelta(days=2)
    groups = {
        "mine": make_error_group(tenant, name="artgen", message="No room left."),
        "own": make_error_group(message="It broke."),
        "old": make_error_group(message="It took long.", code="timed_out", last_seen_at=long_ago),
    }

    response = operator.get(LIST, query)

    assert set(response.context["cl"].result_list) == {groups[name] for name in expected}


def test_a_group_is_found_by_its_fingerprint(operator: Client) -> None:
    group, _ = make_error_group(), make_error_group()

    response = operator.get(LIST, {"q": str(group.pk)})

    assert list(response.context["cl"].result_list) == [group]


def test_a_search_looks_through_the_groups_seen_last(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "SEARCHED_GROUPS", 2)
    now = timezone.now()
    groups = [make_error_group(last_seen_at=now - timedelta(hours=hours)) for hours in range(4)]

    response = operator.get(LIST, {"q": "It broke"})

    assert list(response.context["cl"].result_list) == groups[:2]


def test_the_list_costs_the_same_however_long(operator: Client, tenant: Tenant) -> None:
    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            operator.get(LIST)
        return len(queries)

    make_error_group(tenant)
    cost()
    few = cost()
    for _ in range(20):
        make_trend(make_error_group(tenant), 1, 2)

    assert cost() == few <= 14


# --- The page --------------------------------------------------------------------------------------


def test_the_page_shows_the_trend_a_sample_and_what_is_failed_now(operator: Client, tenant: Tenant) -> None:
    group = make_error_group(tenant, message="It broke at <n>.", count=41)
    make_trend(group, 4, 9)
    *_, newest = make_failed(group, 3)
    make_job(tenant, status="completed")

    page = shown(operator, page_of(group))

    assert "It broke at &lt;n&gt;." in page
    assert "3 jobs" in page
    assert f"/admin/jobs/job/?error={group.pk}&amp;status=failed" in page
    assert f"/admin/jobs/job/{newest.pk}/" in page
    assert "File engine.py, line 7" in page
    assert "failed attempts 13" in page  # of the chart of the week, in words


def test_retry_all_asks_the_list_of_jobs(operator: Client, tenant: Tenant) -> None:
    group = make_error_group(tenant)
    job, *_ = make_failed(group)

    page = shown(operator, page_of(group))

    assert 'name="action" value="retry_jobs"' in page
    assert 'name="select_across" value="1"' in page
    assert f'name="_selected_action" value="{job.pk}"' in page


def test_the_list_of_jobs_takes_it_from_there(operator: Client, tenant: Tenant) -> None:
    group, other = make_error_group(tenant), make_error_group(tenant)
    job, *_ = make_failed(group, 2)
    make_failed(other)
    make_failed(group, status="cancelled")
    asked = {"action": "retry_jobs", "select_across": "1", "_selected_action": str(job.pk)}

    response = operator.post(f"/admin/jobs/job/?error={group.pk}&status=failed", asked)

    assert response.status_code == 200
    page = response.content.decode()
    assert "Retry 2 jobs?" in page
    assert str(job.pk) in page


def test_what_was_tried_again_is_said_so(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant, status="completed")
    group = make_error_group(tenant, sample_job_id=job.pk)

    page = shown(operator, page_of(group))

    assert "No job is failed with this error now" in page
    assert f"/admin/jobs/job/{job.pk}/" in page
    assert "something else has become of it since" in page
    assert "retry_jobs" not in page


def test_a_sample_that_is_forgotten_is_left_out(operator: Client) -> None:
    page = shown(operator, page_of(make_error_group()))

    assert "A job that failed so" not in page


def test_more_than_are_counted_are_said_to_be_more(
    operator: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "COUNTED_ROWS", 2)
    group = make_error_group(tenant)
    make_failed(group, 3)

    assert "2+ jobs" in shown(operator, page_of(group))


# --- Who may ---------------------------------------------------------------------------------------


def test_who_may_not_see_jobs_sees_none_of_them(tenant: Tenant) -> None:
    group = make_error_group(tenant)
    (job,) = make_failed(group)

    page = shown(client_of(make_operator("jobs.view_errorgroup")), page_of(group))

    assert str(job.pk) not in page
    assert "File engine.py" not in page


def test_who_may_only_look_is_not_offered_a_retry(tenant: Tenant) -> None:
    group = make_error_group(tenant)
    make_failed(group)

    page = shown(client_of(make_operator("jobs.view_errorgroup", "jobs.view_job")), page_of(group))

    assert "1 job" in page
    assert "retry_jobs" not in page


def test_without_the_permission_there_is_no_page(tenant: Tenant) -> None:
    group = make_error_group(tenant)
    client = client_of(make_operator("jobs.view_job"))

    assert [client.get(url).status_code for url in (LIST, page_of(group))] == [403, 403]


def test_nobody_changes_a_group(operator: Client) -> None:
    group = make_error_group()

    assert operator.post(page_of(group), {"message": "mine"}).status_code == 403
    assert operator.get(reverse("admin:jobs_errorgroup_add")).status_code == 403
    assert operator.post(reverse("admin:jobs_errorgroup_delete", args=[group.pk])).status_code == 403


def test_restricted_staff_see_the_errors_of_their_tenant(tenant: Tenant, other_tenant: Tenant) -> None:
    mine, theirs = make_error_group(tenant), make_error_group(other_tenant, code="theirs", name="their.kind")
    own = make_error_group()
    make_trend(mine, 7, scope=tenant.pk)
    make_trend(mine, 99, scope=EVERYONE)
    user = make_operator("jobs.view_errorgroup", "jobs.view_job")
    client = client_of(make_restricted(user, tenant))

    response = client.get(LIST)

    (group,) = response.context["cl"].result_list
    assert group == mine
    assert sum(group.trend) == 7
    assert "their.kind" not in response.content.decode()  # nor in the choices of a filter
    assert "globex" not in response.content.decode()
    for group in (theirs, own):
        assert client.get(page_of(group)).status_code == 302  # to the overview: there is no such error
        assert list(client.get(LIST, {"q": str(group.pk)}).context["cl"].result_list) == []


def test_restricted_staff_see_no_other_tenants_sample(tenant: Tenant, other_tenant: Tenant) -> None:
    theirs = make_job(other_tenant, status="failed", error=BROKEN)
    group = make_error_group(tenant, sample_job_id=theirs.pk)
    user = make_operator("jobs.view_errorgroup", "jobs.view_job")

    page = shown(client_of(make_restricted(user, tenant)), page_of(group))

    assert str(theirs.pk) not in page


def test_the_words_of_an_error_are_shown_as_words(operator: Client) -> None:
    group = make_error_group(message="<script>alert(<n>)</script>", name="<b>kind</b>")

    for page in (shown(operator, LIST), shown(operator, page_of(group))):
        assert "<script>alert(" not in page
        assert "<b>kind</b>" not in page
