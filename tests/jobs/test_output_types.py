"""The content types of outputs: what is looked at, what is said of it, and what becomes a problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from jobs.content_types import UNKNOWN, extension_of_url, fits, is_text, plain_type
from jobs.evaluator.output_types import Claims, judge
from jobs.evaluator.outputs import TRIES_MAX, find_mistyped
from jobs.evaluator.rules import Units
from jobs.models import Job, ProblemType, Tenant
from jobs.models.evaluations import OutputCheck
from tests.conftest import ApiClient
from tests.factories import make_job, make_workflow
from tests.jobs.outputs import JPEG, MISMATCH, MISSING, PNG, at, find, look, made, typed, verdicts_on
from tests.receivers import Receiver, answer, huge_body, redirect


@pytest.fixture(autouse=True)
def _storage(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


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
        (
            {"signature": "application/zip", "name": UNKNOWN, "result": "application/x-npz"},
            "matches",
            "application/x-npz",
            "signature",
        ),
        ({"signature": "video/mp4", "header": "image/heic"}, "matches", "image/heic", "signature"),
        ({"header": "text/plain", "result": "text/markdown"}, "matches", "text/markdown", "header"),
        # Then the name.
        ({"name": UNKNOWN, "header": UNKNOWN}, "matches", UNKNOWN, "extension"),
        ({"name": UNKNOWN}, "matches", UNKNOWN, "extension"),
        ({"name": UNKNOWN, "configured": "image/png"}, "matches", UNKNOWN, "extension"),
        ({"name": UNKNOWN, "header": "application/x-gguf"}, "matches", "application/x-gguf", "header"),
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
        ({}, "mismatch", "", ""),
        # Nobody could.
        ({"obstacle": "address_refused"}, "unreachable", "", ""),
        ({"obstacle": "http_403", "has_extension": True}, "unreachable", "", ""),
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
    assert unseen.detail == "could not be looked at: address_refused"


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


@pytest.mark.parametrize(
    ("start", "is_one"),
    [(b"", True), (b"a\tb\r\n", True), ("née".encode(), True), (b"\xff\xfea\0", True), (b"a\0", False)],
)
def test_text_is_told_from_data(start: bytes, is_one: bool) -> None:
    assert is_text(start) == is_one


def test_a_container_fits_what_it_may_hold() -> None:
    assert fits("application/zip", "application/vnd.oasis.opendocument.text")
    assert not fits("image/png", UNKNOWN)
    assert fits("application/zip", "application/x-npz")
    assert not fits("application/zip", "image/png")


def test_a_name_that_says_data_fits_the_data_of_one_program() -> None:
    assert fits("application/x-gguf", UNKNOWN)
    assert not fits("application/pdf", UNKNOWN)


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
        ("page.bin", typed("text/html", b"<html>"), MISMATCH),
        ("picture", typed("image/png", PNG), None),
        ("picture", typed(UNKNOWN, JPEG), None),
        ("text.bin", typed("text/plain", b"plain text"), MISMATCH),
        (
            "data.bin",
            typed("text/plain", b"\0\1\2 weights"),
            None,
        ),  # what a server says of all it does not know
        ("data", typed("text/plain", b"\0\1\2 weights"), MISMATCH),
        ("arrays.bin", typed("application/x-npz", b"PK\3\4 arrays"), None),
        ("untyped", answer(200, [], b"weights"), MISMATCH),
        ("part", answer(206, [("Content-Type", "image/png")], PNG), None),
        ("packed", answer(200, [("Content-Encoding", "gzip")], b"\x1f\x8b\x08" + b"\0" * 16), None),
        ("moved", redirect("http://127.0.0.1:1/x.png"), None),
        ("private.bin", answer(403), None),
        ("private", answer(401), None),
        ("no-ranges", answer(416), None),
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


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "169.254.169.254"])
def test_a_refused_address_is_never_connected_to(tenant: Tenant, settings: Any, host: str) -> None:
    settings.WEBHOOK_ALLOW_HTTP = True
    with Receiver(typed("image/png", PNG)) as receiver:
        start = f"http://{host.format(port=receiver.port)}"
        nameless, named = made(tenant, {"url": f"{start}/x"}), made(tenant, {"url": f"{start}/x.bin"})

        found = verdicts_on(nameless, named)

        assert found == {}
        assert receiver.connections == 0
    check = OutputCheck.objects.get(workflow=nameless)
    assert (check.status, check.tries) == ("unreachable", TRIES_MAX)  # for good
    assert "could not be looked at" in check.detail


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
