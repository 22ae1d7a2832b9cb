"""Bulk operations: what is asked of a list is done by a job, each record once, and told with its counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import unquote, urlencode
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection
from django.db.models import F
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from jobs.admin import bulk, selections
from jobs.admin.jobs import CANCEL, RETRY, JobAdmin
from jobs.admin.lists.addresses import Address
from jobs.admin.lists.criteria import CreatedFilter, Criterion
from jobs.errors import InvalidTransition
from jobs.models import AuditEntry, BulkOperation, Event, Job, StaffTenant, Tenant
from jobs.queue.sweep import sweep
from jobs.services import operations
from jobs.services.audit import Actor
from jobs.services.jobs import cancel_job
from jobs.services.operations import (
    NewOperation,
    Overtaken,
    abort_operation,
    note_in_operation,
    start_operation,
)
from jobs.testing import RunJobs
from tests.factories import make_job, make_operator, make_superuser
from tests.operations import OPERATION, came_to, ended, entries_of, envelope_of, operation_of

JOBS = reverse("admin:jobs_job_changelist")
TOMORROW = timezone.now() + timedelta(days=1)
GONE = "No longer among those this list shows."


@pytest.fixture
def alice(db: None) -> User:
    """May look at jobs and operate on them, and nothing else."""
    return make_operator("jobs.view_job", "jobs.change_job", name="alice")


@pytest.fixture
def operator(alice: User) -> Client:
    return client_of(alice)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, action: str, *rows: Job | str, query: str = "", **fields: str) -> Any:
    keys = [str(getattr(row, "pk", row)) for row in rows]
    return client.post(f"{JOBS}?{query}", {"action": action, "_selected_action": keys, **fields})


def act_on_all(client: Client, action: str, *, query: str = "", **fields: str) -> Any:
    return act(client, action, str(uuid4()), query=query, select_across="1", **fields)


def failed_jobs(tenant: Tenant, count: int, **fields: Any) -> list[Job]:
    """Remote ones: no worker here takes them up again."""
    made = {"status": "failed", "attempt": 3, "service_required": "artgen", **fields}
    return [make_job(tenant, **made) for _ in range(count)]


def statuses_of(*jobs: Job) -> list[str]:
    found = dict(Job.objects.filter(pk__in=[job.pk for job in jobs]).values_list("pk", "status"))
    return [found[job.pk] for job in jobs]


def start_retry(by: User, *jobs: Job, **fields: Any) -> BulkOperation:
    new = {"keys": [str(job.pk) for job in jobs], "total_count": len(jobs), **fields}
    return start_operation(
        NewOperation(model="jobs.Job", verb="retry_jobs", title="Retry", word="retry", **new),
        by=Actor(name=by.get_username(), user_id=by.pk),
    )


def job_of(operation: BulkOperation) -> Job:
    assert operation.job_id
    return Job.objects.get(pk=operation.job_id)


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, at: int, happens: Callable[[], Any]) -> Iterator[None]:
    """Something happens in between: right before the `at`-th record is looked up."""
    count = 0
    real = bulk._deal_with

    def deal_with(*args: Any) -> bool:
        nonlocal count
        count += 1
        if count == at:
            happens()
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "_deal_with", deal_with)
        yield


# --- The question -----------------------------------------------------------------------------------


def test_the_question_counts_shows_some_and_names_the_filters(operator: Client, tenant: Tenant) -> None:
    failed_jobs(tenant, 23)
    make_job(tenant)

    html = act_on_all(operator, "retry_jobs", query="status=failed&created=day").content.decode()

    assert "Retry 23 jobs?" in html
    assert re.search(r"<b>created since 20[-0-9]{8} [:0-9]{8} UTC</b>, <b>status is failed</b>", html)
    assert "These are the newest 20 of 23 jobs." in html
    assert html.count('name="_selected_action"') == 1
    assert not BulkOperation.objects.exists()


def test_a_count_is_given_up_where_it_would_take_long(
    operator: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selections, "COUNTED_ROWS", 2)
    failed_jobs(tenant, 3)

    html = act_on_all(operator, "retry_jobs").content.decode()

    assert "Retry 2+ jobs?" in html
    assert "all of them are meant" in html


def test_where_nothing_matches_nothing_is_offered(operator: Client, tenant: Tenant) -> None:
    make_job(tenant)

    asked = act_on_all(operator, "retry_jobs", query="status=failed")
    answered = act_on_all(operator, "retry_jobs", query="status=failed", confirmed="1")

    html = asked.content.decode()
    assert "Retry 0 jobs?" in html
    assert '<button type="submit" class="afd-button main">' not in html
    assert answered.status_code == 302
    assert not BulkOperation.objects.exists()


def test_an_answer_that_is_sent_twice_starts_one_operation(operator: Client, tenant: Tenant) -> None:
    jobs = failed_jobs(tenant, 2)
    found = OPERATION.search(act(operator, "retry_jobs", *jobs).content.decode())
    assert found

    first, second = (act(operator, "retry_jobs", *jobs, confirmed="1", operation=found[1]) for _ in range(2))

    assert operation_of(first) == operation_of(second)
    assert BulkOperation.objects.count() == Job.objects.filter(kind="system.bulk_operation").count() == 1


def test_a_question_of_another_account_is_not_answered(alice: User, tenant: Tenant) -> None:
    jobs = failed_jobs(tenant, 1)
    hers = start_retry(alice, *jobs)
    other = client_of(make_operator("jobs.view_job", "jobs.change_job", name="mallory"))

    with pytest.raises(InvalidTransition):
        start_retry(make_superuser("bob"), *jobs, id=hers.pk)
    response = act(other, "retry_jobs", *jobs, confirmed="1", operation=str(hers.pk))

    assert response.status_code == 302
    assert BulkOperation.objects.get().user_id == alice.pk


@pytest.mark.parametrize(
    ("query", "pinned"),
    [
        ("created=hour", "from=2026-11-20T11:00:00"),
        ("created__exact=day", "from=2026-11-19T12:00:00"),
        ("created=hour,day&status=failed", "from=2026-11-19T12:00:00&status=failed"),
        (
            "created=day&from=2026-11-20T13:00%2B02:00&to=2026-11-21",
            "from=2026-11-20T11:00:00&to=2026-11-21T00:00:00",
        ),
        ("created=hour&from=2026-11-01", "from=2026-11-20T11:00:00"),
        ("created=day&created__not=hour", "from=2026-11-19T12:00:00&to=2026-11-20T11:00:00"),
        ("from=2026-11-01&to=2026-11-02", "from=2026-11-01&to=2026-11-02"),
        ("created=year", "created=year"),
        ("created=hour&from=noon", "created=hour&from=noon"),
    ],
)
def test_windows_become_times(query: str, pinned: str) -> None:
    address = Address.of(QueryDict(query).lists())

    assert unquote(CreatedFilter.pinned(address, datetime(2026, 11, 20, 12, tzinfo=UTC)).query) == pinned


def test_a_window_of_time_stays_where_it_was_when_the_question_was_asked(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_jobs(tenant, 3)
    asked = act_on_all(operator, "retry_jobs", query="status=failed&created=hour").content.decode()
    (found,) = re.findall(r'<form method="post" action="\?([^"]+)"', asked)

    let_the_windows_pass(monkeypatch)
    answered = act_on_all(operator, "retry_jobs", query=unescape(found), confirmed="1")
    operation = ended(answered, run_jobs)

    assert "Retry 3 jobs?" in asked
    assert (operation.total_count, came_to(operation)) == (3, ({"queued again": 3}, {}))
    assert "created since 20" in operator.get(answered["Location"]).content.decode()


def test_a_window_of_time_stays_where_it_was_until_the_operation_runs(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = failed_jobs(tenant, 2)
    answered = act_on_all(operator, "retry_jobs", query="status=failed&created=day", confirmed="1")

    let_the_windows_pass(monkeypatch)
    operation = ended(answered, run_jobs)

    assert came_to(operation) == ({"queued again": 2}, {})
    assert statuses_of(*jobs) == ["queued"] * 2
    assert "created" not in operation.query


def let_the_windows_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked of a window from now on finds nothing, as if hours had gone by."""
    gone = {word: (label, timedelta(0)) for word, (label, _) in CreatedFilter.windows.items()}
    monkeypatch.setattr(CreatedFilter, "windows", gone)


# --- Doing it ---------------------------------------------------------------------------------------


def test_the_platforms_own_jobs_are_cancelled_on_their_page_and_with_no_others(
    operator: Client, alice: User, tenant: Tenant, run_jobs: RunJobs
) -> None:
    own, evaluation = job_of(start_retry(alice)), make_job(kind="system.evaluate", run_at=TOMORROW)
    theirs = make_job(tenant, run_at=TOMORROW)
    Job.objects.filter(pk=own.pk).update(run_at=TOMORROW)

    operation = ended(act(operator, "cancel_jobs", own, evaluation, theirs, confirmed="1"), run_jobs)
    told = act(operator, "cancel_jobs", evaluation, confirmed="1", from_page="1")

    assert came_to(operation) == (
        {"cancelled": 1},
        {
            "It is the platform's own: abort its operation instead.": 1,
            "It is the platform's own: cancel it on its page.": 1,
        },
    )
    assert told.status_code == 302
    assert statuses_of(own, evaluation, theirs) == ["queued", "cancelled", "cancelled"]


def test_a_record_costs_few_statements(alice: User, tenant: Tenant) -> None:
    few, many = failed_jobs(tenant, 2), failed_jobs(tenant, 12)

    counts = []
    for jobs in (few, many):
        operation = start_retry(alice, *jobs)
        with CaptureQueriesContext(connection) as queries:
            bulk.run_operation(operation.pk, envelope_of(operation))
        counts.append(len(queries))

    # Its lock, its row before and after, its entry; and the marks of two transactions within that of the test.
    assert (counts[1] - counts[0]) / 10 <= 8


def test_those_selected_are_done_and_the_refused_counted_with_their_reasons(
    operator: Client, tenant: Tenant, run_jobs: RunJobs
) -> None:
    failed, done, gone = failed_jobs(tenant, 2), make_job(tenant, status="completed"), uuid4()

    response = act(operator, "retry_jobs", *failed, done, str(gone), confirmed="1", reason="The GPU is back.")
    operation = ended(response, run_jobs)

    assert (operation.status, operation.reason, operation.actor) == ("completed", "The GPU is back.", "alice")
    assert came_to(operation) == (
        {"queued again": 2},
        {"The job is completed; only a failed or cancelled job is retried.": 1, GONE: 1},
    )
    assert statuses_of(*failed, done) == ["queued", "queued", "completed"]
    reasons = Event.objects.filter(type="retried").values_list("data__reason", flat=True)
    assert list(reasons) == ["The GPU is back."] * 2


def test_all_that_match_are_done_newest_first_and_no_other(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "LOT", 2)
    failed, other = failed_jobs(tenant, 5), make_job(tenant, status="cancelled", service_required="artgen")

    operation = ended(act_on_all(operator, "retry_jobs", query="status=failed", confirmed="1"), run_jobs)

    assert came_to(operation) == ({"queued again": 5}, {})
    assert statuses_of(*failed, other) == ["queued"] * 5 + ["cancelled"]
    assert [entry.object_id for entry in entries_of(operation)] == [str(job.pk) for job in reversed(failed)]


def test_what_comes_after_the_question_is_not_touched(
    operator: Client, tenant: Tenant, run_jobs: RunJobs
) -> None:
    before = failed_jobs(tenant, 2)
    asked = act_on_all(operator, "retry_jobs", query="status=failed").content.decode()
    later = failed_jobs(tenant, 1)
    newest = str(before[-1].pk)
    assert f'name="newest" value="{newest}"' in asked

    response = act_on_all(operator, "retry_jobs", query="status=failed", confirmed="1", newest=newest)
    failed_jobs(tenant, 1)
    operation = ended(response, run_jobs)

    assert (operation.total_count, came_to(operation)) == (2, ({"queued again": 2}, {}))
    assert statuses_of(*before, *later) == ["queued", "queued", "failed"]


def test_where_the_count_was_given_up_the_job_counts(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selections, "COUNTED_ROWS", 2)
    failed_jobs(tenant, 4)

    response = act_on_all(operator, "retry_jobs", confirmed="1")
    asked = operation_of(response)
    operation = ended(response, run_jobs)

    assert (asked.total_count, asked.is_total_capped) == (2, True)
    assert (operation.total_count, operation.is_total_capped, operation.done_count) == (4, False, 4)


def test_where_no_index_leads_to_them_it_goes_over_more_than_the_list_looked_through(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Criterion, "window", 3)
    jobs = failed_jobs(tenant, 5, worker="gpu-1")
    failed_jobs(tenant, 1, worker="gpu-2")

    asked = act_on_all(operator, "retry_jobs", query="worker=gpu-1").content.decode()
    operation = ended(act_on_all(operator, "retry_jobs", query="worker=gpu-1", confirmed="1"), run_jobs)

    assert "Retry 2+ jobs?" in asked
    assert (operation.total_count, came_to(operation)) == (5, ({"queued again": 5}, {}))
    assert statuses_of(*jobs) == ["queued"] * 5


def test_a_filter_that_the_list_does_not_take_is_not_left_out(operator: Client, tenant: Tenant) -> None:
    failed_jobs(tenant, 2)

    asked = act_on_all(operator, "retry_jobs", query="status=purple")
    answered = act_on_all(operator, "retry_jobs", query="status=purple", confirmed="1")

    assert (asked.status_code, answered.status_code) == (400, 400)
    assert not BulkOperation.objects.exists()


def test_those_that_another_has_dealt_with_before_their_turn_are_told_of(
    operator: Client, tenant: Tenant, run_jobs: RunJobs
) -> None:
    failed_jobs(tenant, 3)
    first, second = (
        act_on_all(operator, "retry_jobs", query="status=failed", confirmed="1") for _ in range(2)
    )

    run_jobs()

    assert operation_of(first).done_count + operation_of(second).done_count == 3
    pages = [operator.get(response["Location"]).content.decode() for response in (first, second)]
    assert ["3 of them had left the list" in page for page in pages].count(True) == 1


def test_each_record_is_audited_with_what_changed(
    operator: Client, tenant: Tenant, run_jobs: RunJobs
) -> None:
    (failed,), done = failed_jobs(tenant, 1), make_job(tenant, status="completed")

    response = act(operator, "retry_jobs", failed, done, confirmed="1", reason="why")
    operation = ended(response, run_jobs)

    refused, retried = entries_of(operation)
    assert (retried.actor, retried.action, retried.object_id) == ("alice", "retry", str(failed.pk))
    assert (retried.before, retried.after) == (
        {"status": "failed", "max_attempts": 3},
        {"status": "queued", "max_attempts": 4},
    )
    assert (retried.reason, retried.outcome, retried.tenant_id) == ("why", "queued again", tenant.pk)
    assert (refused.is_refused, refused.object_id) == (True, str(done.pk))
    assert AuditEntry.objects.filter(action="bulk retry", object_id=str(operation.pk)).count() == 1


def test_reasons_are_told_apart_up_to_a_bound(
    alice: User, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "REASONS_MAX", 2)
    start_retry(alice, *failed_jobs(tenant, 5))
    BulkOperation.objects.update(status="running")
    operation = BulkOperation.objects.get()

    for key, reason in enumerate(["a", "b", "c", "a", "d"]):
        note_in_operation(operation, str(key), reason, is_refused=True)

    operation.refresh_from_db()
    assert (operation.refusals, operation.refused_count) == ({"a": 2, "b": 1, "other": 2}, 5)


def test_a_record_that_fails_unexpectedly_is_refused_and_the_others_are_done(
    operator: Client, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = failed_jobs(tenant, 2)

    def run(job: Job, by: str, reason: str) -> Any:
        Job.objects.filter(pk=job.pk).update(priority=99)
        if job.pk == bad.pk:
            raise ValueError("a bug")
        return RETRY.run(job, by, reason)

    monkeypatch.setattr(JobAdmin, "verbs", lambda self: [replace(RETRY, run=run), CANCEL])

    operation = ended(act(operator, "retry_jobs", bad, good, confirmed="1"), run_jobs)

    assert came_to(operation) == ({"queued again": 1}, {"Failed unexpectedly: ValueError.": 1})
    assert statuses_of(bad, good) == ["failed", "queued"]
    assert Job.objects.get(pk=bad.pk).priority == 50  # what it had written is undone


# --- Who may ----------------------------------------------------------------------------------------


def restricted(tenant: Tenant, name: str = "tess") -> User:
    user = make_operator("jobs.view_job", "jobs.change_job", name=name)
    StaffTenant.objects.create(user=user, tenant=tenant)
    return user


def test_restricted_staff_reach_no_others_record_by_whatever_key_or_query(
    tenant: Tenant, other_tenant: Tenant, run_jobs: RunJobs
) -> None:
    client = client_of(restricted(tenant))
    (mine,), (theirs,) = failed_jobs(tenant, 1), failed_jobs(other_tenant, 1)

    asked = act(client, "retry_jobs", mine, theirs)
    by_key = ended(act(client, "retry_jobs", theirs, confirmed="1"), run_jobs)
    everything = ended(act_on_all(client, "retry_jobs", confirmed="1"), run_jobs)

    assert str(theirs.pk) not in asked.content.decode().replace(f'value="{theirs.pk}"', "")
    assert came_to(by_key) == ({}, {GONE: 1})
    assert came_to(everything) == ({"queued again": 1}, {})
    assert statuses_of(mine, theirs) == ["queued", "failed"]
    assert {by_key.tenant_id, everything.tenant_id} == {tenant.pk}


def test_a_forged_query_in_the_row_itself_reaches_no_other_tenant(
    tenant: Tenant, other_tenant: Tenant, run_jobs: RunJobs
) -> None:
    (theirs,) = failed_jobs(other_tenant, 1)
    user = restricted(tenant)
    operation = start_retry(
        user,
        keys=None,
        query="status=failed",
        newest=str(theirs.pk),
        total_count=1,
        tenant_id=tenant.pk,
    )

    run_jobs()

    operation.refresh_from_db()
    assert (operation.status, came_to(operation)) == ("completed", ({}, {}))
    assert statuses_of(theirs) == ["failed"]


def lose_the_right(user: User, tenant: Tenant) -> None:
    user.user_permissions.remove(Permission.objects.get(codename="change_job"))


def be_deactivated(user: User, tenant: Tenant) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def be_restricted(user: User, tenant: Tenant) -> None:
    StaffTenant.objects.create(user=user, tenant=tenant)


@pytest.mark.parametrize(
    ("happens", "error"),
    [
        (lose_the_right, "The account alice may not do this any more."),
        (be_deactivated, "The account alice may not use the monitor any more."),
        (be_restricted, "The account alice sees other tenants now than when it asked for this."),
        (lambda user, tenant: user.delete(), "The account alice may not use the monitor any more."),
    ],
)
def test_a_right_that_is_lost_midway_ends_it(
    alice: User,
    tenant: Tenant,
    run_jobs: RunJobs,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[User, Tenant], Any],
    error: str,
) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    jobs = failed_jobs(tenant, 6)
    operation = start_retry(alice, *jobs)

    with interrupted(monkeypatch, 3, lambda: happens(alice, tenant)):
        run_jobs()

    operation.refresh_from_db()
    assert (operation.status, operation.error, operation.done_count) == ("failed", error, 4)
    assert sorted(statuses_of(*jobs)) == ["failed"] * 2 + ["queued"] * 4


def test_a_verb_or_a_filter_that_nobody_knows_any_more_ends_it(
    alice: User, tenant: Tenant, run_jobs: RunJobs
) -> None:
    (job,) = failed_jobs(tenant, 1)
    verb = start_retry(alice, job)
    BulkOperation.objects.filter(pk=verb.pk).update(verb="polish_jobs")
    query = start_retry(alice, keys=None, query="colour=red", newest=str(job.pk), total_count=1)

    run_jobs()

    verb.refresh_from_db()
    query.refresh_from_db()
    assert (verb.status, verb.error) == ("failed", "There is no verb polish_jobs for jobs.Job any more.")
    assert (query.status, query.error) == ("failed", "The list does not know these filters any more.")
    assert statuses_of(job) == ["failed"]


# --- Cut off and gone on with -----------------------------------------------------------------------


def test_another_attempt_goes_on_where_one_was_cut_off(
    alice: User, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = failed_jobs(tenant, 5)
    operation = start_retry(alice, *jobs)

    def lose_the_database() -> None:
        raise OperationalError("the connection is lost")

    with interrupted(monkeypatch, 3, lose_the_database):
        run_jobs()
    operation.refresh_from_db()
    assert (operation.status, operation.done_count) == ("running", 2)
    run_jobs(include_delayed=True)

    operation.refresh_from_db()
    assert (operation.status, came_to(operation)) == ("completed", ({"queued again": 5}, {}))
    assert len({entry.object_id for entry in entries_of(operation)}) == len(entries_of(operation)) == 5
    assert job_of(operation).attempt == 2


def test_of_two_processes_that_are_at_it_one_lets_go_and_undoes_its_last(alice: User, tenant: Tenant) -> None:
    first, second = failed_jobs(tenant, 2)
    start_retry(alice, first, second)
    mine, its = operations.begin_operation(BulkOperation.objects.get().pk), BulkOperation.objects.get()
    note_in_operation(its, str(second.pk), "queued again", is_refused=False)

    with pytest.raises(Overtaken):
        note_in_operation(mine, str(second.pk), "queued again", is_refused=False)

    mine.refresh_from_db()
    assert (mine.done_count, mine.cursor) == (1, str(second.pk))


def test_two_operations_over_the_same_records_share_them(
    alice: User, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = failed_jobs(tenant, 6)
    outer, inner = start_retry(alice, *jobs), start_retry(alice, *jobs)

    with interrupted(monkeypatch, 3, run_jobs):
        run_jobs()

    outer.refresh_from_db()
    inner.refresh_from_db()
    assert (outer.status, inner.status) == ("completed", "completed")
    assert outer.done_count + inner.done_count == 6
    assert outer.refused_count + inner.refused_count == 6
    assert Event.objects.filter(type="retried").count() == 6
    assert (
        not Job.objects.filter(pk__in=[job.pk for job in jobs])
        .exclude(max_attempts=F("attempt") + 1)
        .exists()
    )


# --- Ended before its end ---------------------------------------------------------------------------


def test_its_operator_aborts_it_midway_and_what_was_done_stays(
    operator: Client, alice: User, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = failed_jobs(tenant, 6)
    operation = start_retry(alice, *jobs)
    url = reverse("admin:jobs_bulkoperation_abort", args=[operation.pk])

    with interrupted(monkeypatch, 3, lambda: operator.post(url)):
        run_jobs()

    operation.refresh_from_db()
    assert (operation.status, operation.aborted_by, operation.done_count) == ("aborted", "alice", 3)
    assert sorted(statuses_of(*jobs)) == ["failed"] * 3 + ["queued"] * 3
    assert AuditEntry.objects.get(action="abort").object_id == str(operation.pk)


def test_one_that_has_not_begun_is_aborted_at_once(alice: User, tenant: Tenant, run_jobs: RunJobs) -> None:
    (job,) = failed_jobs(tenant, 1)
    operation = start_retry(alice, job)

    abort_operation(operation, by=Actor(name="alice", user_id=alice.pk))
    run_jobs()

    operation.refresh_from_db()
    assert (operation.status, operation.handled_count) == ("aborted", 0)
    assert operation.ended_at is not None
    assert statuses_of(job) == ["failed"]


def test_cancelling_its_job_ends_it(
    alice: User, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = failed_jobs(tenant, 4)
    begun, waiting = start_retry(alice, *jobs), start_retry(alice, *jobs)
    cancel_job(job_of(waiting), by="root")

    with interrupted(monkeypatch, 2, lambda: cancel_job(job_of(begun), by="root")):
        run_jobs()

    begun.refresh_from_db()
    waiting.refresh_from_db()
    assert (begun.status, begun.done_count) == ("aborted", 2)
    assert (waiting.status, waiting.done_count) == ("aborted", 0)
    assert waiting.error == "Its job was cancelled: Cancelled by root."


def test_it_fails_with_its_job(
    alice: User, tenant: Tenant, run_jobs: RunJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = start_retry(alice, *failed_jobs(tenant, 1))
    Job.objects.filter(kind=operations.KIND).update(max_attempts=1)

    def break_down() -> None:
        raise RuntimeError("no more")

    with interrupted(monkeypatch, 1, break_down):
        run_jobs()

    operation.refresh_from_db()
    assert operation.status == "failed"
    assert operation.error == "Its job was failed: RuntimeError: no more"


def test_it_ends_where_nobody_begins_its_job_in_time(alice: User, tenant: Tenant) -> None:
    operation = start_retry(alice, *failed_jobs(tenant, 1))
    Job.objects.filter(kind=operations.KIND).update(expires_at=timezone.now())

    sweep()

    operation.refresh_from_db()
    assert (operation.status, operation.ended_at is not None) == ("failed", True)


# --- Its page ---------------------------------------------------------------------------------------


def test_the_page_shows_how_far_it_is_and_what_came_of_it(
    operator: Client, alice: User, tenant: Tenant, run_jobs: RunJobs
) -> None:
    failed, done = failed_jobs(tenant, 2), make_job(tenant, status="completed")
    response = act(operator, "retry_jobs", *failed, done, confirmed="1", reason="The GPU is back.")
    progress = reverse("admin:jobs_bulkoperation_progress", args=[operation_of(response).pk])

    before = operator.get(response["Location"]).content.decode()
    running = operator.get(progress).content.decode()
    ended(response, run_jobs)
    after = operator.get(response["Location"]).content.decode()
    over = operator.get(progress).content.decode()

    assert "Retry 3 jobs" in before
    assert "Abort" in before
    assert f'data-live="{progress}"' in before
    assert "data-live-end" not in running
    assert "<html" not in running
    assert "2 done, 1 refused of 3" in after
    assert "Abort" not in after
    assert "The job is completed; only a failed or cancelled job is retried." in over
    assert "data-live-end" in over
    assert "100 %" in over


def test_the_list_shows_operations_to_those_who_may_see_them(alice: User, tenant: Tenant) -> None:
    start_retry(alice, *failed_jobs(tenant, 2))
    url = reverse("admin:jobs_bulkoperation_changelist")

    listed = client_of(make_operator("jobs.view_bulkoperation")).get(url)
    refused = client_of(make_operator("jobs.view_job")).get(url)

    assert "Retry 2 jobs" in listed.content.decode()
    assert refused.status_code == 403


def test_only_its_operator_and_who_may_change_operations_abort_it(alice: User, tenant: Tenant) -> None:
    operation = start_retry(alice, *failed_jobs(tenant, 1))
    url = reverse("admin:jobs_bulkoperation_abort", args=[operation.pk])
    viewer = client_of(make_operator("jobs.view_bulkoperation"))
    chief = client_of(make_operator("jobs.view_bulkoperation", "jobs.change_bulkoperation", name="chief"))

    refused, read, done = viewer.post(url), chief.get(url), chief.post(url)

    operation.refresh_from_db()
    assert (refused.status_code, read.status_code, done.status_code) == (403, 405, 302)
    assert (operation.status, operation.aborted_by) == ("aborted", "chief")


def test_restricted_staff_see_the_operations_of_their_tenant_alone(
    alice: User, tenant: Tenant, other_tenant: Tenant
) -> None:
    tess, theo = restricted(tenant), restricted(other_tenant, "theo")
    for user in (tess, theo):
        user.user_permissions.add(*Permission.objects.filter(codename__endswith="_bulkoperation"))
    (job,) = failed_jobs(tenant, 1)
    own = start_retry(tess, job, tenant_id=tenant.pk)
    strangers = [start_retry(theo, job, tenant_id=other_tenant.pk), start_retry(alice, job)]
    client = client_of(tess)

    listed = client.get(reverse("admin:jobs_bulkoperation_changelist")).content.decode()
    own_page = client.get(reverse("admin:jobs_bulkoperation_change", args=[own.pk]))

    assert str(own.pk) in listed
    assert own_page.status_code == 200
    for operation in strangers:
        assert str(operation.pk) not in listed
        assert client.get(reverse("admin:jobs_bulkoperation_change", args=[operation.pk])).status_code == 302
        for name in ("progress", "abort"):
            url = reverse(f"admin:jobs_bulkoperation_{name}", args=[operation.pk])
            assert client.post(url).status_code == 404
        operation.refresh_from_db()
        assert operation.abort_requested_at is None


def test_a_list_of_selected_keys_survives_an_address_that_is_odd(operator: Client, tenant: Tenant) -> None:
    failed_jobs(tenant, 1)

    no_key = act(operator, "retry_jobs", "no key")
    no_newest = act_on_all(operator, "retry_jobs", confirmed="1", newest="never")
    odd_id = act_on_all(operator, "retry_jobs", confirmed="1", operation="\0", query=urlencode({"q": "\0"}))

    assert (no_key.status_code, no_newest.status_code) == (400, 400)
    assert odd_id.status_code == 302
