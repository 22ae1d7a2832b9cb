"""Base64 from before it was kept out: `manage.py sanitize_base64`."""

from __future__ import annotations

import base64
import io
import random
import threading
import time
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.utils import IntegrityError, InternalError

from attestations.models import Attestation
from jobs.hygiene.cleaning import Store, stores
from jobs.models import Cleaning, Event, Job, Tenant
from jobs.services.cleaning import Report, clean_store, disk_bytes
from tests.factories import (
    make_attempt,
    make_attestation,
    make_delivery,
    make_endpoint,
    make_event,
    make_job,
    make_receipt,
    make_sender,
    make_workflow,
)

PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(3_000)).decode()
BYTES = 3_008


def clean(*options: str) -> str:
    out = io.StringIO()
    call_command("sanitize_base64", *options, stdout=out)
    return out.getvalue()


def store_of(model: type) -> Store:
    return next(store for store in stores if store.model is model)


def bloated_jobs(tenant: Tenant, count: int) -> list[Job]:
    return [make_job(tenant, status="completed", result={"image": PICTURE, "n": n}) for n in range(count)]


def count_clean(jobs: list[Job]) -> int:
    for job in jobs:
        job.refresh_from_db()
    return sum(isinstance(job.result["image"], dict) for job in jobs)


def test_every_table_is_cleaned(tenant: Tenant) -> None:
    uri = f"data:image/png;base64,{PICTURE}"
    error = {"code": "broken", "message": f"no place for {PICTURE}", "traceback": ""}
    job = make_job(tenant, status="failed", result={"image": PICTURE, "n": 1}, error=error)
    workflow = make_workflow(
        tenant,
        status="failed",
        retry_execution_data={"a": [uri]},
        error=error,
        outputs=[uri, "https://a.b/c.png"],
    )
    event = make_event(job, lines=[PICTURE, "done"])
    receipt = make_receipt(make_sender(tenant), body={"picture": uri}, notice={"outputs": [uri]})
    delivery = make_delivery(make_endpoint(tenant))
    attempt = make_attempt(delivery, response_body=f"<img src='{uri}'>")

    clean()

    for row in (job, workflow, event, receipt, attempt):
        row.refresh_from_db()
    assert (job.result["image"]["bytes"], job.result["n"]) == (BYTES, 1)
    assert job.error["message"].startswith("no place for [removed base64: 3008 bytes, image/png")
    assert workflow.retry_execution_data["a"][0]["content_type"] == "image/png"
    assert workflow.outputs[0].startswith("[removed base64")
    assert workflow.outputs[1] == "https://a.b/c.png"
    assert event.data["lines"][0].startswith("[removed base64")
    assert event.data["lines"][1] == "done"
    assert receipt.body["picture"]["bytes"] == BYTES
    assert PICTURE[:100] not in str(receipt.notice)
    assert attempt.response_body.startswith("<img src='[removed base64: 3008 bytes")


def test_what_a_job_is_to_do_stays_as_it_is(tenant: Tenant) -> None:
    job = make_job(tenant, status="completed", payload={"image": PICTURE})
    workflow = make_workflow(tenant, status="completed", data={"variables": {"image": PICTURE}})

    clean()

    job.refresh_from_db()
    workflow.refresh_from_db()
    assert job.payload == {"image": PICTURE}
    assert workflow.data == {"variables": {"image": PICTURE}}


def test_work_that_has_not_ended_is_not_touched(tenant: Tenant) -> None:
    job = make_job(tenant, status="running", error={"code": "flaky", "message": PICTURE})

    clean()

    job.refresh_from_db()
    assert job.error["message"] == PICTURE


def test_an_attestation_gets_a_new_digest_and_keeps_the_first(tenant: Tenant) -> None:
    data = {"miniapp_req": {"image": PICTURE}, "result": {"f": 1.0}, "error": {"message": PICTURE}}
    attestation = make_attestation(make_job(tenant), attestation_data=data)
    first = attestation.digest

    clean()

    attestation.refresh_from_db()
    assert attestation.attestation_data["miniapp_req"]["image"]["bytes"] == BYTES
    assert isinstance(attestation.attestation_data["error"]["message"], str)
    assert attestation.is_intact
    assert (attestation.original_digest, attestation.digest == first) == (first, False)


def test_the_first_digest_outlasts_a_second_cleaning(tenant: Tenant) -> None:
    attestation = make_attestation(
        make_job(tenant), original_digest="f" * 64, attestation_data={"a": PICTURE}
    )

    clean()

    attestation.refresh_from_db()
    assert (attestation.original_digest, attestation.is_intact) == ("f" * 64, True)


def test_a_clean_attestation_keeps_its_digest(tenant: Tenant) -> None:
    attestation = make_attestation(make_job(tenant), attestation_data={"result": "text " * 100})
    first = attestation.digest

    clean()

    attestation.refresh_from_db()
    assert (attestation.digest, attestation.original_digest) == (first, "")


def test_an_attestation_that_was_tampered_with_is_left_as_evidence(tenant: Tenant) -> None:
    attestation = make_attestation(make_job(tenant), attestation_data={"a": PICTURE}, digest="e" * 64)

    told = clean()

    attestation.refresh_from_db()
    assert (attestation.attestation_data, attestation.digest) == ({"a": PICTURE}, "e" * 64)
    assert "attestations_attestation: 1 rows were left as they are" in told


def test_nobody_else_may_change_an_attestation_afterwards(tenant: Tenant) -> None:
    attestation = make_attestation(make_job(tenant), attestation_data={"a": PICTURE})
    clean()

    with pytest.raises((IntegrityError, InternalError), match="never changed"), transaction.atomic():
        Attestation.objects.filter(pk=attestation.pk).update(attestation_data={})


def test_a_dry_run_tells_and_changes_nothing(tenant: Tenant) -> None:
    jobs = bloated_jobs(tenant, 3)

    told = clean("--dry-run")

    assert count_clean(jobs) == 0
    assert not Cleaning.objects.exists()
    assert "jobs_job: 3 rows read, 3 would change; documents 12." in told
    assert told.endswith("Nothing was changed.\n")


def test_the_report_gives_bytes_before_and_after(tenant: Tenant) -> None:
    (job,) = bloated_jobs(tenant, 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT octet_length(result::text) FROM jobs_job")
        (before,) = cursor.fetchone()

    report = clean_store(store_of(Job))

    with connection.cursor() as cursor:
        cursor.execute("SELECT octet_length(result::text) FROM jobs_job")
        (after,) = cursor.fetchone()
    assert (report.rows, report.changed) == (1, 1)
    assert (report.bytes_before, report.bytes_after) == (before, after)
    assert report.reduction == pytest.approx(1 - after / before)
    assert report.disk_before >= 4_000


@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_cut_off_goes_on_where_it_stopped() -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    jobs = bloated_jobs(tenant, 10)

    def cut_off(report: Report, expected: int) -> None:
        assert expected == 10
        if report.rows == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean_store(store_of(Job), batch=3, progress=cut_off)
    assert count_clean(jobs) == 6
    rest = clean_store(store_of(Job), batch=3)

    assert (rest.rows, rest.changed) == (4, 4)
    assert count_clean(jobs) == 10
    cleaning = Cleaning.objects.get(table="jobs_job")
    assert (cleaning.row_count, cleaning.last_key) == (10, str(jobs[-1].pk))
    assert cleaning.finished_at is not None
    assert cleaning.bytes_before > 10 * len(PICTURE) > cleaning.bytes_after


def test_a_batch_that_fails_leaves_no_trace_of_itself(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = bloated_jobs(tenant, 4)
    store = store_of(Job)
    written: list[Any] = []

    def fail_at_the_fourth(key: Any, before: Any, after: Any) -> bool:
        written.append(key)
        if len(written) == 4:
            raise RuntimeError("out of paper")
        return bool(Job.objects.filter(pk=key).update(**after))

    failing = Store(model=Job, columns=store.columns, condition=store.condition, write=fail_at_the_fourth)
    with pytest.raises(RuntimeError):
        clean_store(failing, batch=2)

    assert count_clean(jobs) == 2
    assert Cleaning.objects.get(table="jobs_job").last_key == str(jobs[1].pk)


def test_a_second_run_reads_new_rows_only_unless_it_is_restarted(tenant: Tenant) -> None:
    bloated_jobs(tenant, 2)
    clean()
    new = bloated_jobs(tenant, 1)

    second, third, restarted = clean(), clean(), clean("--restart")

    assert "jobs_job: 1 rows read, 1 changed" in second
    assert "jobs_job: 0 rows read" in third
    assert "jobs_job: 3 rows read, 0 changed" in restarted
    assert count_clean(new) == 1


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_is_at_holds_up_no_other_and_is_told_of() -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    jobs = bloated_jobs(tenant, 3)
    is_locked, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Job.objects.select_for_update().get(pk=jobs[1].pk)
            is_locked.set()
            may_go.wait(20)
        connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    is_locked.wait(20)
    report = clean_store(store_of(Job))
    may_go.set()
    holder.join()

    assert (report.changed, report.refused) == (2, 1)
    assert count_clean(jobs) == 2
    assert "jobs_job: 3 rows read, 1 changed" in clean("--restart")
    assert count_clean(jobs) == 3


@pytest.mark.django_db(transaction=True)
def test_vacuum_full_gives_the_space_back() -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    job = make_job(tenant, status="completed")
    noise = random.Random(2)
    for _ in range(20):
        picture = base64.b64encode(noise.randbytes(60_000)).decode()
        Event.objects.create(tenant=tenant, job=job, type="log", data={"lines": [picture]})
    before = clean_store(store_of(Event), is_dry=True).disk_before

    told = clean()
    end = time.monotonic() + 20
    # Rows that an autovacuum at work in this database can still see are kept once more.
    while disk_bytes(store_of(Event)) > 200_000 and time.monotonic() < end:
        clean("--vacuum-full")

    assert before > 1_000_000 > 200_000 > disk_bytes(store_of(Event))
    assert "jobs_event: 20 rows read, 20 changed" in told
