"""Base64 reaches no store: one test for each of them."""

from __future__ import annotations

import base64
import json
import logging
import random
from typing import Any

from django.utils import timezone

from attestations.models import Attestation
from config.logging import JsonFormatter
from jobs.models import Event, Job, Tenant
from jobs.queue.claim import Lease
from jobs.queue.finish import finish
from jobs.queue.outcomes import MESSAGE_MAX_CHARS, Outcome, make_error
from jobs.services.jobs import retry_job
from tests.conftest import ApiClient, MakeEndpoint
from tests.factories import claim_one, make_job, make_workflow
from tests.receivers import Receiver, answer
from tests.webhooks.calls import COMPLETED, NOTIFIED, post, send
from webhooks.models import Attempt, Message, Receipt
from webhooks.sending.loop import send_due

PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(9_000)).decode()
URI = f"data:image/png;base64,{PICTURE}"
WORDS = "[removed base64: 9008 bytes, image/png, sha256 "


def report(api: ApiClient, job: Job, verb: str, **body: Any) -> None:
    token = str(claim_one(job).lease_token) if job.status == "queued" else str(job.lease_token)
    response = api.send("POST", f"/api/jobs/{job.pk}/{verb}", {"lease_token": token, **body})
    assert response.status_code == 200, response.content


def test_a_workers_result(api: ApiClient, tenant: Tenant) -> None:
    job = make_job(tenant, service_required="artgen")

    report(api, job, "complete", result={"image": URI, "thumbs": [PICTURE], "seed": 7})

    job.refresh_from_db()
    assert job.result["seed"] == 7
    assert job.result["image"] == job.result["thumbs"][0]
    assert (job.result["image"]["bytes"], job.result["image"]["content_type"]) == (9_008, "image/png")


def test_results_that_come_in_bulk(api: ApiClient, tenant: Tenant) -> None:
    jobs = [make_job(tenant, service_required="artgen", status="running") for _ in range(2)]

    finish([Outcome(lease=Lease(job.pk, job.lease_token), status="completed", result=URI) for job in jobs])

    for job in jobs:
        job.refresh_from_db()
        assert job.result["$removed"] == "base64"


def test_an_error_loses_its_base64_before_it_is_cut() -> None:
    error = make_error("broken", "x " * (MESSAGE_MAX_CHARS // 2 - 200) + URI, traceback=f"{URI} at line 7")

    assert error["message"].endswith("]")
    assert WORDS in error["message"]
    assert error["traceback"].endswith(" at line 7")
    assert error["traceback"].startswith(WORDS)


def test_a_workers_error(api: ApiClient, tenant: Tenant) -> None:
    job = make_job(tenant, service_required="artgen", max_attempts=1)

    report(api, job, "fail", error={"code": "bad_image", "message": PICTURE[:9_000]}, retryable=False)

    job.refresh_from_db()
    assert job.error["message"].startswith("[removed base64: 6750 bytes, image/png")


def test_log_lines_and_progress(api: ApiClient, tenant: Tenant) -> None:
    job = make_job(tenant, service_required="artgen", status="running")

    report(api, job, "log", lines=["begin", PICTURE[:9_000], "end"])
    report(api, job, "progress", progress=50, message=f"<img src='data:image/png;base64,{PICTURE[:800]}'>")

    log, progress = Event.objects.order_by("pk")
    assert log.data["lines"][0::2] == ["begin", "end"]
    assert log.data["lines"][1].startswith("[removed base64: 6750 bytes")
    assert progress.data["message"].startswith("<img src='[removed base64: 600 bytes, image/png")


def test_the_story_of_a_retry_whose_payload_stays(tenant: Tenant) -> None:
    job = make_job(tenant, status="failed", payload={"image": URI})

    retry_job(job, by="somebody", payload={})

    job.refresh_from_db()
    assert job.original_payload == {"image": URI}
    (event,) = Event.objects.filter(type="retried")
    assert event.data["before"]["image"]["bytes"] == 9_008


def test_an_attestation_whose_digest_is_of_what_is_kept(tenant: Tenant) -> None:
    payload, ctx = {"prompt": "a fox", "image": URI}, {"miniapp_req": {"body": PICTURE}}
    job = make_job(tenant, service_required="artgen", status="running", payload=payload, ctx=ctx)

    finish([Outcome(lease=Lease(job.pk, job.lease_token), status="completed", result={"image": URI})])

    attestation = Attestation.objects.get()
    data = attestation.attestation_data
    assert (
        data["miniapp_req"]["body"]
        == data["emprops_req_payload"]["payload"]["image"]
        == data["result"]["image"]
    )
    assert data["result"]["image"]["bytes"] == 9_008
    assert data["emprops_req_payload"]["payload"]["prompt"] == "a fox"
    assert attestation.is_intact
    job.refresh_from_db()
    assert job.payload == payload


def test_an_attestation_of_a_workflow(api: ApiClient, tenant: Tenant) -> None:
    workflow = make_workflow(tenant)
    step = {"workflow": workflow, "step_index": 0, "step_name": "paint"}
    job = make_job(tenant, service_required="artgen", ctx={"miniapp_req": {"image": URI}}, **step)

    report(api, job, "complete", result={"url": "https://a.example/b.png"})

    attestation = Attestation.objects.get(entity_type="workflow")
    assert attestation.attestation_data["miniapp_req"]["image"]["bytes"] == 9_008
    assert attestation.attestation_data["workflow_outputs"] == ["https://a.example/b.png"]


def test_a_message_to_an_endpoint(api: ApiClient, tenant: Tenant, make_endpoint: MakeEndpoint) -> None:
    make_endpoint()
    job = make_job(tenant, service_required="artgen")

    report(api, job, "complete", result={"image": URI})

    assert Message.objects.get().content["data"]["result"]["image"]["bytes"] == 9_008


def test_an_endpoints_answer(
    api: ApiClient, tenant: Tenant, receiver: Receiver, make_endpoint: MakeEndpoint
) -> None:
    make_endpoint()
    receiver.behaviour = answer(500, body=f"<h1>no</h1><img src='{URI}'>".encode())
    report(api, make_job(tenant, service_required="artgen"), "complete", result=None)

    send_due()

    body = Attempt.objects.get().response_body
    assert body.startswith(f"<h1>no</h1><img src='{WORDS}")
    assert body.endswith("]'>")


def test_a_receipt_of_a_body_that_is_large_for_its_picture(tenant: Tenant, secret: str) -> None:
    large = f"data:image/png;base64,{base64.b64encode(bytes(90_000)).decode()}"
    make_workflow(
        tenant, workflow_id="order-7", user_id="user-1", completed_at=timezone.now(), status="completed"
    )

    send(NOTIFIED, {"workflow_id": "order-7", "user_id": "user-1", "picture": large, "n": 1}, secret)

    receipt = Receipt.objects.get()
    assert (receipt.body["n"], receipt.body["picture"]["$removed"]) == (1, "base64")
    assert receipt.state == "applied"
    assert receipt.size > 100_000


def test_an_upstreams_notice(tenant: Tenant, secret: str) -> None:
    make_workflow(tenant, workflow_id="order-7", status="completed")

    send(COMPLETED, {"workflow_id": "order-7", "status": "completed", "outputs": [URI]}, secret)

    receipt = Receipt.objects.get()
    assert receipt.notice["outputs"][0]["bytes"] == 9_008
    assert receipt.body["outputs"] == receipt.notice["outputs"]
    assert Event.objects.get(type="upstream_ended").data["outputs"] == receipt.notice["outputs"]


def test_a_refused_call(db: None) -> None:
    post(NOTIFIED, {"picture": URI, "n": 1})

    body = json.loads(Receipt.objects.get(state="refused").body)
    assert body["picture"].startswith(WORDS)
    assert body["n"] == 1


def test_a_log_line() -> None:
    formatter = JsonFormatter(clean=log_cleaner())
    record = logging.makeLogRecord(
        {"msg": f"got {URI}", "image": PICTURE, "levelname": "INFO", "of": SimpleText(f"<{URI}>")}
    )

    line = formatter.format(record)

    entry = json.loads(line)
    assert entry["msg"].startswith(f"got {WORDS}")
    assert entry["image"]["bytes"] == 9_008
    assert entry["of"].startswith(f"<{WORDS}")
    assert entry["level"] == "info"


def test_the_traceback_of_a_log_line() -> None:
    try:
        raise ValueError(URI)
    except ValueError as error:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": (type(error), error, None)})

    line = JsonFormatter(clean=log_cleaner()).format(record)

    assert json.loads(line)["exception"].startswith(f"ValueError: {WORDS}")


def test_a_short_log_line_is_not_looked_at() -> None:
    def fail(value: Any) -> Any:
        raise AssertionError

    line = JsonFormatter(clean=fail).format(logging.makeLogRecord({"msg": "job completed"}))

    assert json.loads(line)["msg"] == "job completed"


class SimpleText:
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def log_cleaner() -> Any:
    """What the configuration gives the formatter."""
    from config.logging import logging_dict

    formatter: Any = logging.config.DictConfigurator(logging_dict("INFO"))
    return formatter.configure_formatter(formatter.config["formatters"]["json"]).clean
