"""What is forgotten, what is kept however old, and that nobody waits while it happens."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from attestations.models import Attestation
from jobs.hygiene import retention
from jobs.hygiene.retention import Retention, RetentionFailed, apply_retentions, old_of, retentions
from jobs.ids import first_id_of
from jobs.models import EvaluationRun, Event, IdempotencyKey, Job, Tenant, Worker, Workflow
from jobs.models.evaluations import OutputCheck
from jobs.queue.claim import claim_in_house
from jobs.queue.enqueue import enqueue_job
from jobs.services import retention as ground
from jobs.services.jobs import retry_job
from jobs.services.retention import (
    find_old_events,
    find_old_jobs,
    find_old_workflows,
    forget_events,
    forget_jobs,
    forget_workflows,
)
from jobs.testing import RunJobs
from tests.factories import make_attestation, make_event, make_job, make_tenant, make_worker, make_workflow
from webhooks.models import Message

_count = itertools.count(1)
EVALUATED: dict[str, Any] = {"is_cleanup_evaluated": True, "status_category": "complete"}


def id_of(days: float) -> UUID:
    """An id made so many days ago."""
    return UUID(int=first_id_of(timezone.now() - timedelta(days=days)).int + next(_count))


def old(days: float = 31, status: str = "completed", **fields: Any) -> dict[str, Any]:
    """The fields of work that was made and ended so many days ago, and evaluated."""
    ended = {f"{status}_at": timezone.now() - timedelta(days=days)}
    return {"id": id_of(days), "status": status, **ended, **EVALUATED, **fields}


def make_old_workflow(tenant: Tenant, steps: int = 2, **fields: Any) -> Workflow:
    fields = old(**fields)
    workflow = make_workflow(tenant, total_steps=steps, **fields)
    for index in range(steps):
        make_job(tenant, workflow=workflow, step_index=index, **old(is_cleanup_evaluated=False))
    return workflow


# --- What goes and what stays ----------------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_old_jobs_that_were_evaluated_go(tenant: Tenant, status: str) -> None:
    make_job(tenant, **old(status=status))
    make_job(None, **old(status=status))

    assert forget_jobs() == 2

    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        old(days=300, is_cleanup_evaluated=False, status_category=""),
        old(days=29),
        old(id=id_of(40), completed_at=timezone.now() - timedelta(days=1)),
        {"id": id_of(300), "status": "queued"},
        {"id": id_of(300), "status": "running"},
        {"id": id_of(300), "status": "queued", "run_at": timezone.now() + timedelta(days=1)},
    ],
    ids=["unevaluated", "young", "made long ago, ended yesterday", "queued", "running", "due later"],
)
def test_other_jobs_stay(tenant: Tenant, fields: dict[str, Any]) -> None:
    make_job(tenant, **fields)

    assert find_old_jobs().count == 0
    assert forget_jobs() == 0

    assert Job.objects.count() == 1


def test_a_workflow_goes_with_all_that_is_its_own(tenant: Tenant) -> None:
    gone, kept = make_old_workflow(tenant), make_old_workflow(tenant, days=29)
    for workflow in (gone, kept):
        OutputCheck.objects.create(
            workflow=workflow, workflow_run=1, url="https://a.example/x", status="matches"
        )

    assert forget_jobs() == 0  # not without it
    assert forget_workflows() == 1

    assert list(Workflow.objects.all()) == [kept]
    assert {job.workflow for job in Job.objects.all()} == {kept}
    assert [check.workflow for check in OutputCheck.objects.all()] == [kept]


def test_a_failed_workflow_goes_with_the_steps_that_still_wait(tenant: Tenant) -> None:
    workflow = make_old_workflow(tenant, steps=1, status="failed")
    make_job(tenant, workflow=workflow, step_index=1, status="waiting", id=id_of(31))

    assert forget_workflows() == 1

    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"is_cleanup_evaluated": False, "status_category": "", "days": 300},
        {"days": 29},
        {"id": id_of(40), "completed_at": timezone.now() - timedelta(days=1)},
        {"status": "running", "running_at": None, "is_cleanup_evaluated": False},
    ],
    ids=["unevaluated", "young", "made long ago, ended yesterday", "running"],
)
def test_other_workflows_stay(tenant: Tenant, fields: dict[str, Any]) -> None:
    fields = old(**fields)
    fields.pop("running_at", None)
    workflow = make_workflow(tenant, **fields)
    make_job(tenant, workflow=workflow, step_index=0, **old())

    assert find_old_workflows().count == 0
    assert forget_workflows() == 0

    assert (Workflow.objects.count(), Job.objects.count()) == (1, 1)


def test_a_workflow_with_a_step_that_still_runs_stays(tenant: Tenant) -> None:
    workflow = make_old_workflow(tenant, steps=1, status="cancelled")
    make_job(tenant, workflow=workflow, step_index=1, status="running", id=id_of(31))

    assert find_old_workflows().count == 0
    assert forget_workflows() == 0

    assert Job.objects.count() == 2


def test_a_workflow_stays_as_long_as_its_attestations(tenant: Tenant) -> None:
    workflow = make_old_workflow(tenant, days=89)
    make_job(tenant, **old())
    attestation = make_attestation(None, tenant=tenant, workflow=workflow)

    assert (forget_workflows(), forget_jobs()) == (0, 1)

    attestation.delete()
    assert forget_workflows() == 1


def test_old_events_go_unless_their_work_goes_on(tenant: Tenant) -> None:
    running = make_workflow(tenant, status="running")
    live, ended = make_job(tenant), make_job(tenant, status="completed")
    step = make_job(tenant, workflow=running, step_index=0, status="completed")
    kept = [make_event(live), make_event(step)]
    gone = [make_event(ended), make_event(make_job(tenant, status="failed"))]
    gone.append(Event.objects.create(tenant=tenant, job_id=id_of(40), workflow_id=id_of(40), type="log"))
    Event.objects.update(created_at=timezone.now() - timedelta(days=7, minutes=1))
    kept.append(make_event(ended))

    would_go = find_old_events().count
    count = forget_events()

    assert would_go == count == len(gone)
    assert list(Event.objects.order_by("pk")) == kept


def test_what_stands_beside_work_goes_too(tenant: Tenant) -> None:
    for days in (0, 31):
        EvaluationRun.objects.create(started_at=timezone.now() - timedelta(days=days))
        make_worker(tenant, last_seen_at=timezone.now() - timedelta(days=days))
        IdempotencyKey.objects.create(
            tenant=tenant, key=str(days), status=201, created_at=timezone.now() - timedelta(days=days)
        )

    gone = apply_retentions()

    assert {name: count for name, count in gone.items() if count} == {
        "evaluation runs": 1,
        "workers": 1,
        "idempotency keys": 1,
    }
    assert EvaluationRun.objects.count() == Worker.objects.count() == IdempotencyKey.objects.count() == 1


# --- Batches ---------------------------------------------------------------------------------------


def test_it_goes_batch_by_batch_past_what_stays(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, statements: list[str]
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(ground, "BATCH", 5)
    for _ in range(5):
        make_job(tenant, **old())
        make_job(tenant, **old(is_cleanup_evaluated=False, status_category=""))
        make_event(make_job(tenant, status="completed"))
        make_event(make_job(tenant))
        make_old_workflow(tenant)
    make_old_workflow(tenant, steps=8)  # larger than a batch, and goes all the same
    Event.objects.update(created_at=timezone.now() - timedelta(days=8))
    statements.clear()

    assert (forget_jobs(), forget_events(), forget_workflows()) == (5, 5, 6)

    deletions = [text for text in statements if text.startswith('DELETE FROM "jobs_workflow"')]
    assert len(deletions) == 6  # two of three rows each are more than five
    assert (Workflow.objects.count(), Event.objects.count()) == (0, 5)
    assert Job.objects.filter(is_cleanup_evaluated=True).count() == 0
    assert Job.objects.filter(pk__lt=first_id_of(timezone.now() - timedelta(days=1))).count() == 5


# --- Nobody waits ----------------------------------------------------------------------------------


@contextmanager
def held(sql: str, *params: Any) -> Iterator[None]:
    """Somebody else has locked these rows."""
    dsn = psycopg.conninfo.make_conninfo(**_dsn())
    with psycopg.connect(dsn) as somebody:
        somebody.execute(sql, params)
        yield


def _dsn() -> dict[str, Any]:
    """The test database, for a connection that is not Django's."""
    connection.ensure_connection()
    return {**connection.connection.info.get_parameters(), "password": connection.connection.info.password}


@pytest.mark.django_db(transaction=True)
def test_what_somebody_has_locked_is_left_for_the_next_time() -> None:
    tenant = make_tenant()
    first, _ = make_job(tenant, **old()), make_job(tenant, **old())
    step_held, workflow_held, free = (make_old_workflow(tenant) for _ in range(3))
    step = step_held.jobs.latest("pk")

    with (
        held("SELECT FROM jobs_job WHERE id IN (%s, %s) FOR UPDATE", first.pk, step.pk),
        held("SELECT FROM jobs_workflow WHERE id = %s FOR NO KEY UPDATE", workflow_held.pk),
    ):
        counts = (forget_jobs(), forget_workflows())

    assert counts == (1, 1)
    assert Job.objects.filter(workflow=None).get() == first
    assert set(Workflow.objects.all()) == {step_held, workflow_held}
    assert Job.objects.exclude(workflow=None).count() == 4
    assert free not in Workflow.objects.all()
    assert (forget_jobs(), forget_workflows()) == (1, 2)


@pytest.mark.django_db(transaction=True)
def test_work_is_enqueued_claimed_and_retried_while_it_forgets() -> None:
    tenant = make_tenant()
    make_job(tenant, **old())
    make_old_workflow(tenant)
    failed = make_job(tenant, status="failed", attempt=1)
    done = threading.Event()
    seen: list[UUID] = []

    def work() -> None:
        enqueue_job("system.ping", tenant_id=tenant.pk)
        retry_job(failed, by="somebody")
        seen.extend(row.id for _ in range(2) for row in claim_in_house("default", "worker-1"))
        connection.close()
        done.set()

    with transaction.atomic():  # holds every lock of every batch
        forget_jobs()
        forget_workflows()
        thread = threading.Thread(target=work)
        thread.start()
        is_done = done.wait(timeout=10)
    thread.join()

    assert is_done
    assert len(seen) == 2


@pytest.mark.django_db(transaction=True)
def test_two_at_once_share_the_work() -> None:
    tenant = make_tenant()
    for _ in range(30):
        make_old_workflow(tenant)
        make_job(tenant, **old())
    counts: list[int] = []

    def forget() -> None:
        counts.extend([forget_jobs(), forget_workflows()])
        connection.close()

    threads = [threading.Thread(target=forget) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rest = [forget_jobs(), forget_workflows()]

    assert sum(counts) + sum(rest) == 60
    assert not Job.objects.exists()


# --- The schedule and the command ------------------------------------------------------------------


@pytest.fixture
def broken() -> Iterator[None]:
    """A retention that fails, before all others."""

    def fail() -> int:
        raise RuntimeError("no room")

    extra = Retention(
        name="extras",
        kept_for=lambda: timedelta(hours=2),
        condition="",
        find_old=lambda: old_of(Job.objects.none(), "created_at"),
        forget=fail,
    )
    retentions.insert(0, extra)
    yield
    retentions.remove(extra)


def call(*options: str) -> dict[str, list[str]]:
    """The command's table: the cells of each line by its name."""
    output = StringIO()
    try:
        call_command("apply_retention", *options, stdout=output)
    finally:
        _, *lines = output.getvalue().splitlines()
        table = {line[:20].strip(): line[20:].split("  ") for line in lines}
    return {name: [cell.strip() for cell in cells if cell.strip()] for name, cells in table.items()}


def test_a_job_of_the_schedule_forgets_everything(tenant: Tenant, run_jobs: RunJobs) -> None:
    make_job(tenant, **old())
    enqueue_job("system.apply_retention")

    (job,) = run_jobs()

    assert (job.status, job.timeout_seconds) == ("completed", 1_800)
    assert job.result == {each.name: int(each.name == "jobs") for each in retentions}
    assert job.result.keys() >= {"jobs", "workflows", "events", "attestations", "messages", "receipts"}
    assert not Attestation.objects.exists()
    assert not Message.objects.exists()


def test_one_that_fails_holds_up_no_other_and_fails_the_job(
    tenant: Tenant, run_jobs: RunJobs, broken: None
) -> None:
    make_job(tenant, **old())

    with pytest.raises(RetentionFailed, match=r"extras: RuntimeError: no room") as failure:
        apply_retentions()
    enqueue_job("system.apply_retention", max_attempts=1)
    (job,) = run_jobs()

    assert failure.value.gone["jobs"] == 1
    assert job.status == "failed"
    assert job.error
    assert "extras" in job.error["message"]


def test_the_command_says_first_what_it_then_does(tenant: Tenant) -> None:
    make_old_workflow(tenant, days=40)
    for _ in range(3):
        make_event(make_job(tenant, **old()))
    make_attestation(expires_at=timezone.now())
    Event.objects.update(created_at=timezone.now() - timedelta(days=8))

    first = call("--dry-run")
    counts = (Job.objects.count(), Event.objects.count(), Attestation.objects.count())
    then = call()

    assert counts == (5, 3, 1)
    assert first == then
    assert first["jobs"][:2] == ["30 d", "3"]
    oldest = (timezone.now() - timedelta(days=40)).strftime("%Y-%m-%d")
    assert first["workflows"][1] == "1"
    assert first["workflows"][2].startswith(oldest)
    assert (first["events"][1], first["attestations"][1], first["receipts"][1]) == ("3", "1", "0")
    assert (Job.objects.count(), Event.objects.count(), Attestation.objects.count()) == (0, 0, 0)


def test_a_dry_run_writes_nothing(tenant: Tenant, statements: list[str]) -> None:
    make_job(tenant, **old())
    statements.clear()

    call("--dry-run")

    assert statements
    assert all(text.startswith("SELECT") and "FOR UPDATE" not in text for text in statements)


def test_the_command_names_what_has_failed(tenant: Tenant, broken: None) -> None:
    make_job(tenant, **old())

    with pytest.raises(CommandError, match="extras"):
        call()

    assert not Job.objects.exists()
