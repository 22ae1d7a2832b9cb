"""The content types of outputs: what is looked at, what is said of it, and what becomes a problem."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from jobs.content_types import UNKNOWN, extension_of_url, fits, plain_type
from jobs.evaluator import looks
from jobs.evaluator.output_types import Claims, judge
from jobs.evaluator.outputs import check_outputs, find_mistyped
from jobs.evaluator.rules import TOO_EARLY, Finding, Units
from jobs.models import Job, ProblemType, Tenant, Workflow
from jobs.models.evaluations import OutputCheck
from jobs.workflows.advance import outputs_of
from tests.conftest import ApiClient
from tests.factories import make_job, make_workflow
from tests.receivers import Conversation, Receiver, answer, hang_up, huge_body, never, redirect

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 32
MISMATCH, MISSING = ProblemType.CONTENT_TYPE_MISMATCH, ProblemType.MISSING_OUTPUT


@pytest.fixture(autouse=True)
def _storage(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


def made(tenant: Tenant, result: Any, **fields: Any) -> Workflow:
    """A completed workflow whose last step answered `result`."""
    workflow = make_workflow(tenant, status="completed", total_steps=1, outputs=outputs_of(result), **fields)
    step = {"workflow": workflow, "step_index": 0, "step_name": "paint"}
    make_job(tenant, service_required="artgen", status="completed", result=result, **step)
    return workflow


def look(*workflows: Workflow, seconds: float = 10.0) -> None:
    check_outputs([workflow.pk for workflow in workflows], budget_seconds=seconds)


def find(*workflows: Workflow) -> list[Finding]:
    return list(find_mistyped(Units(model=Workflow, ids=[workflow.pk for workflow in workflows])))


def verdicts_on(*workflows: Workflow) -> dict[UUID, ProblemType | str]:
    look(*workflows)
    return {finding.unit_id: finding.problem_type for finding in find(*workflows)}


def at(receiver: Receiver, name: str) -> str:
    return receiver.url.removesuffix("hook") + name


def typed(content_type: str, body: bytes = b"weights") -> Any:
    return answer(200, [("Content-Type", content_type)], body)


# --- What is said of a file ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "status", "content_type", "source"),
    [
        # The first bytes, then the host, prove what it is: nobody may say otherwise.
        ({"signature": "image/png", "name": UNKNOWN}, "mismatch", "image/png", "signature"),
        (
            {"signature": "image/png", "name": UNKNOWN, "result": "image/png"},
            "mismatch",
            "image/png",
            "signature",
        ),
        (
            {"signature": "image/png", "name": "image/png", "result": "image/jpeg"},
            "mismatch",
            "image/png",
            "signature",
        ),
        (
            {"signature": "image/png", "name": "image/png", "result": UNKNOWN},
            "mismatch",
            "image/png",
            "signature",
        ),
        ({"signature": "image/png", "header": "text/html"}, "mismatch", "image/png", "signature"),
        ({"header": "image/png", "name": UNKNOWN}, "mismatch", "image/png", "header"),
        ({"header": "text/html", "name": UNKNOWN}, "mismatch", "text/html", "header"),
        ({"header": "text/html", "result": "image/png"}, "mismatch", "text/html", "header"),
        ({"signature": "image/png"}, "matches", "image/png", "signature"),
        ({"signature": "image/png", "header": UNKNOWN}, "matches", "image/png", "signature"),
        ({"signature": "image/png", "result": "image/png"}, "matches", "image/png", "signature"),
        ({"header": "image/svg+xml", "has_extension": True}, "matches", "image/svg+xml", "header"),
        # What several types begin with proves none of them.
        (
            {"signature": "application/zip", "name": UNKNOWN, "header": UNKNOWN},
            "matches",
            "application/zip",
            "signature",
        ),
        ({"signature": "video/mp4", "header": "image/heic"}, "matches", "image/heic", "signature"),
        ({"header": "text/plain", "result": "text/markdown"}, "matches", "text/markdown", "header"),
        # Then the name.
        ({"name": UNKNOWN, "header": UNKNOWN}, "matches", UNKNOWN, "extension"),
        ({"name": UNKNOWN}, "matches", UNKNOWN, "extension"),
        ({"name": UNKNOWN, "configured": "image/png"}, "matches", UNKNOWN, "extension"),
        ({"name": UNKNOWN, "result": "image/png"}, "mismatch", UNKNOWN, "extension"),
        ({"name": UNKNOWN, "obstacle": "address_refused"}, "matches", UNKNOWN, "extension"),
        # Then its worker, unless its bytes say no.
        ({"result": "model/obj", "header": UNKNOWN}, "matches", "model/obj", ""),
        ({"result": "image/png", "header": UNKNOWN}, "mismatch", "", ""),
        ({"result": "image/png", "obstacle": "address_refused"}, "matches", "image/png", ""),
        # Then the settings.
        ({"configured": "image/png"}, "matches", "image/png", "configured"),
        ({"configured": "image/png", "obstacle": "url_refused"}, "matches", "image/png", "configured"),
        ({"header": UNKNOWN, "has_extension": True}, "matches", UNKNOWN, "header"),
        # Nobody.
        ({"header": UNKNOWN}, "mismatch", "", ""),
        ({"obstacle": "address_refused"}, "mismatch", "", ""),
        ({}, "mismatch", "", ""),
    ],
)
def test_the_first_that_tells_decides(
    claims: dict[str, Any], status: str, content_type: str, source: str
) -> None:
    verdict = judge(Claims(**claims))

    assert (verdict.status, verdict.content_type, verdict.source) == (status, content_type, source)
    assert bool(verdict.detail) == (status == "mismatch") or "obstacle" in claims


def test_a_verdict_says_what_is_wrong() -> None:
    hidden = judge(Claims(signature="image/png", name=UNKNOWN))
    nothing, unseen = judge(Claims()), judge(Claims(obstacle="address_refused"))

    assert hidden.detail == "is image/png, but its name says application/octet-stream"
    assert hidden.declared_type == UNKNOWN
    assert nothing.detail == "has no type"
    assert unseen.detail == "has no type, and could not be looked at: address_refused"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("image/jpg", "image/jpeg"),
        ("IMAGE/PNG; charset=binary", "image/png"),
        ("audio/x-wav", "audio/wav"),
        ("binary/octet-stream", UNKNOWN),
        ("image", ""),
        ("image/png\0", ""),
        ("a/" + "b" * 200, ""),
        ("", ""),
    ],
)
def test_names_of_one_type_are_equal(text: str, plain: str) -> None:
    assert plain_type(text) == plain


@pytest.mark.parametrize(
    ("url", "extension"),
    [
        ("https://cdn.example/a/b.PNG?x=.bin#y.jpg", ".png"),
        ("https://cdn.example/a.b/c", ""),
        ("https://cdn.example", ""),
        ("https://cdn.example/x.tar.gz", ".gz"),
        ("https://cdn.example/x.", ""),
        ("https://[cdn/x.png", ""),
    ],
)
def test_an_extension_is_that_of_the_path(url: str, extension: str) -> None:
    assert extension_of_url(url) == extension


def test_a_container_fits_what_it_may_hold() -> None:
    assert fits("application/zip", "application/vnd.oasis.opendocument.text")
    assert not fits("image/png", UNKNOWN)
    assert not fits("application/zip", "image/png")


# --- Which are looked at ---------------------------------------------------------------------------


def test_an_upload_gets_its_real_extension_and_is_trusted(
    api: ApiClient, tenant: Tenant, statements: list[str]
) -> None:
    job = make_job(tenant, service_required="artgen", status="running")
    headers = {"X-Lease-Token": str(job.lease_token)}

    stored = api.put(
        f"/api/jobs/{job.pk}/artifacts/out.bin", PNG, content_type=UNKNOWN, headers=headers
    ).json()
    workflow = made(tenant, stored)  # with its content_type, as the worker was answered

    assert stored["url"].endswith("/out.png")
    assert verdicts_on(workflow) == {}
    assert not OutputCheck.objects.exists()


def test_a_png_named_bin_is_a_mismatch_wherever_it_is(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed(UNKNOWN, PNG)
    path = default_storage.save("acme/1/token/out.bin", ContentFile(PNG))
    ours, theirs = (
        made(tenant, {"url": f"http://127.0.0.1:8000/artifacts/{path}"}),
        made(tenant, {"image": {"url": at(receiver, "out.bin")}}),
    )

    look(ours, theirs)
    found = {finding.unit_id: finding for finding in find(ours, theirs)}

    assert {finding.problem_type for finding in found.values()} == {MISMATCH}
    assert found.keys() == {ours.pk, theirs.pk}
    finding = found[theirs.pk]
    url = at(receiver, "out.bin")
    assert finding.missing == f"{url} is image/png, but its name says application/octet-stream."
    assert finding.where == {
        "workflow_id": theirs.workflow_id,
        "run": 1,
        "url": url,
        "found": "image/png",
        "found_by": "signature",
        "declared": UNKNOWN,
    }
    assert finding.since == theirs.completed_at
    assert any("artifacts" in step for step in finding.what_to_do)
    (request,) = receiver.requests  # of ours none
    assert (request.method, request.headers["range"]) == ("GET", "bytes=0-1023")


def test_look_alikes_are_healthy(tenant: Tenant, receiver: Receiver, settings: Any) -> None:
    settings.OUTPUT_CONTENT_TYPES = {"artgen": "image/webp"}
    honest = default_storage.save("acme/1/token/weights.bin", ContentFile(b"weights"))
    receiver.behaviour = typed(UNKNOWN)
    healthy = [
        made(tenant, {"url": f"http://127.0.0.1:8000/artifacts/{honest}"}),
        made(tenant, {"url": at(receiver, "weights.bin")}),
        made(tenant, {"url": at(receiver, "model.safetensors")}),
        made(tenant, {"url": at(receiver, "scene.xyz")}),
        made(tenant, {"url": at(receiver, "x.jpg"), "content_type": "image/JPG; q=1"}),
        made(tenant, {"url": at(receiver, "x.wav"), "mimeType": "audio/x-wav"}),
        made(tenant, {"url": at(receiver, "x.png?name=x.bin")}),
        made(tenant, {"url": at(receiver, "x"), "mime_type": "model/obj"}),
        made(tenant, {"url": at(receiver, "by-the-settings")}),
        made(
            tenant,
            {"url": at(receiver, "v.mp4"), "poster": at(receiver, "p.jpg"), "content_type": "video/mp4"},
        ),
        made(tenant, {"url": at(receiver, "x.png"), "content_type": "picture"}),
        made(
            tenant,
            {"url": at(receiver, "x.png"), "raw": {"$removed": "base64", "content_type": "image/webp"}},
        ),
        made(tenant, at(receiver, "x.png")),
        made(tenant, {"content_type": "image/png", "text": "nothing to fetch"}),
    ]

    assert verdicts_on(*healthy) == {}


def test_what_the_result_says_beside_a_url_counts(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed("image/png", PNG)
    wrong = [
        made(tenant, {"url": at(receiver, "a.png"), "contentType": "image/jpeg"}),
        made(tenant, {"files": [{"href": at(receiver, "b"), "mime_type": "image/jpeg"}]}),
    ]
    right = made(tenant, [{"src": at(receiver, "c"), "content_type": "image/png"}])

    assert verdicts_on(*wrong, right) == {workflow.pk: MISMATCH for workflow in wrong}
    assert len(receiver.requests) == 3


@pytest.mark.parametrize(
    ("name", "behaviour", "problem"),
    [
        ("gone.bin", answer(404), MISSING),
        ("gone", answer(410), MISSING),
        ("page.bin", typed("text/html", b"<html>"), MISMATCH),
        ("picture", typed("image/png", PNG), None),
        ("picture", typed(UNKNOWN, JPEG), None),
        ("nothing", answer(200), MISMATCH),
        ("moved", redirect("http://127.0.0.1:1/x.png"), MISMATCH),
        ("private.bin", answer(403), None),
        ("large.bin", huge_body(), None),
    ],
)
def test_hosts_that_answer(
    tenant: Tenant, receiver: Receiver, name: str, behaviour: Any, problem: ProblemType | None
) -> None:
    receiver.behaviour = behaviour
    workflow = made(tenant, {"url": at(receiver, name)})

    assert verdicts_on(workflow) == ({workflow.pk: problem} if problem else {})
    assert len(receiver.requests) == 1


def test_an_artifact_of_ours_that_is_gone_is_missing(tenant: Tenant) -> None:
    gone = made(tenant, {"url": "http://127.0.0.1:8000/artifacts/acme/1/token/out.bin"})
    led_out = made(tenant, {"url": "http://127.0.0.1:8000/artifacts/../../etc/passwd"})

    look(gone, led_out)

    assert {(f.unit_id, f.problem_type) for f in find(gone, led_out)} == {
        (gone.pk, MISSING),
        (led_out.pk, MISSING),
    }
    assert find(gone)[0].missing.endswith("/out.bin is not there.")


@pytest.mark.parametrize("behaviour", [answer(503), answer(429), hang_up])
def test_a_host_that_can_not_be_reached_is_tried_three_times(
    tenant: Tenant, receiver: Receiver, behaviour: Any
) -> None:
    receiver.behaviour = behaviour
    named = made(tenant, {"url": at(receiver, "weights.bin")})
    nameless = made(tenant, {"url": at(receiver, "x")})

    early = [verdicts_on(named, nameless) for _ in range(2)]
    late = verdicts_on(named, nameless)
    look(named, nameless)

    assert early == [{named.pk: TOO_EARLY, nameless.pk: TOO_EARLY}] * 2
    assert late == {nameless.pk: MISMATCH}
    assert set(OutputCheck.objects.values_list("workflow_id", "tries")) == {(named.pk, 3), (nameless.pk, 3)}
    assert len(receiver.requests) == 6


def test_what_was_not_looked_at_waits(tenant: Tenant, receiver: Receiver) -> None:
    workflow = made(tenant, {"url": at(receiver, "x.bin")})

    assert [finding.problem_type for finding in find(workflow)] == [TOO_EARLY]


def test_a_retry_is_looked_at_anew(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed(UNKNOWN, PNG)
    workflow = made(tenant, {"url": at(receiver, "x.bin")})
    look(workflow)
    Workflow.objects.update(attempt=2)
    receiver.behaviour = typed(UNKNOWN)

    early = find(workflow)
    later = verdicts_on(workflow)

    assert [finding.problem_type for finding in early] == [TOO_EARLY]
    assert later == {}


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "169.254.169.254"])
def test_a_refused_address_is_never_connected_to(tenant: Tenant, settings: Any, host: str) -> None:
    settings.WEBHOOK_ALLOW_HTTP = True
    with Receiver(typed("image/png", PNG)) as receiver:
        start = f"http://{host.format(port=receiver.port)}"
        nameless, named = made(tenant, {"url": f"{start}/x"}), made(tenant, {"url": f"{start}/x.bin"})

        found = verdicts_on(nameless, named)

        assert found == {nameless.pk: MISMATCH}
        assert receiver.connections == 0
    assert "could not be looked at" in find(nameless)[0].missing


def test_the_time_is_kept(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = never
    silent = [made(tenant, {"url": at(receiver, f"{n}.bin")}) for n in range(40)]
    began = time.monotonic()

    look(*silent, seconds=1.0)

    assert time.monotonic() - began < 2.0
    assert 0 < OutputCheck.objects.filter(status="unreachable").count() < len(silent)
    assert {finding.problem_type for finding in find(*silent)} == {TOO_EARLY}


def test_those_that_wait_longest_do_not_hold_up_the_others(
    tenant: Tenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent_for_some(conversation: Conversation) -> bool:
        return await (never if "silent" in conversation.request.path else typed(UNKNOWN))(conversation)

    receiver.behaviour = silent_for_some
    monkeypatch.setattr(looks, "IN_FLIGHT_MAX", 2)
    silent = [made(tenant, {"url": at(receiver, f"silent-{n}.bin")}) for n in range(2)]
    look(*silent, seconds=0.5)
    honest = [made(tenant, {"url": at(receiver, f"honest-{n}.bin")}) for n in range(4)]

    look(*silent, *honest, seconds=0.5)

    assert {finding.unit_id for finding in find(*silent, *honest)} == {workflow.pk for workflow in silent}


def test_of_one_workflow_only_so_many_are_looked_at(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed(UNKNOWN)
    workflow = made(tenant, [at(receiver, f"{n}.bin") for n in range(50)])

    assert verdicts_on(workflow) == {}
    assert len(receiver.requests) == 20


def test_several_faults_of_one_workflow_are_told_together(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed(UNKNOWN, PNG)
    absent = "http://127.0.0.1:8000/artifacts/acme/1/token/out.bin"
    workflow = made(tenant, [at(receiver, "a.bin"), absent, at(receiver, "b.bin")])
    look(workflow)

    mistyped, missing = find(workflow)

    assert (mistyped.problem_type, mistyped.where["others"]) == (MISMATCH, 1)
    assert "1 more" in mistyped.missing
    assert (missing.problem_type, missing.where["url"]) == (MISSING, absent)


def test_only_completed_work_that_was_not_judged_is_looked_at(tenant: Tenant, receiver: Receiver) -> None:
    result = {"url": at(receiver, "x.bin")}
    judged = made(tenant, result, is_cleanup_evaluated=True, status_category="complete")
    failed = make_workflow(tenant, status="failed", outputs=[result["url"]])
    step: dict[str, Any] = {"workflow": failed, "step_index": 0, "result": result}
    make_job(tenant, service_required="artgen", status="failed", **step)

    assert verdicts_on(judged, failed) == {}
    assert list(find_mistyped(Units(model=Job, ids=[judged.pk]))) == []
    assert receiver.requests == []


def test_the_statements_do_not_grow_with_the_units(
    tenant: Tenant, receiver: Receiver, statements: list[str]
) -> None:
    receiver.behaviour = typed(UNKNOWN, PNG)

    def cost(workflows: Iterable[Workflow]) -> int:
        statements.clear()
        verdicts_on(*workflows)
        return len(statements)

    few = cost([made(tenant, {"url": at(receiver, "x.bin")})])
    many = cost([made(tenant, {"url": at(receiver, f"{n}.bin")}) for n in range(30)])

    assert few == many == 3
