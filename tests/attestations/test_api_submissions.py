"""Submissions by the API: pictures and hashes in, reviews, and who may do what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from attestations.models import Submission
from jobs.models import IdempotencyKey, Job, Tenant, Workflow
from tests.conftest import ApiClient
from tests.factories import make_key, make_submission, make_tenant, make_workflow
from tests.jobs.test_api_access import assert_problem
from tests.jobs.together import at_once

PATH = "/api/submissions"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 24
HASH = hashlib.sha256(PNG).hexdigest()
CHAIN = {
    "CHAIN_RPC_URL": "http://127.0.0.1:1",
    "PRIVATE_KEY": "0x" + "11" * 32,
    "CONTRACT_ADDRESS": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
}


@pytest.fixture(autouse=True)
def pictures(settings: Any, tmp_path: Path) -> Path:
    """Where the pictures go."""
    settings.MEDIA_ROOT = tmp_path / "artifacts"
    return tmp_path / "artifacts"


def stored_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def picture(
    content: bytes = PNG, name: str = "art.png", content_type: str = "image/png"
) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, content_type)


def upload(api: ApiClient, image: Any = None, **fields: Any) -> Any:
    return api.post(PATH, {"image": image or picture(), **fields})


def form(*parts: tuple[str, bytes], end: bytes = b"--frame--\r\n") -> dict[str, Any]:
    """A form as nobody's library writes it: each part with its Content-Disposition's rest."""
    frame = b"".join(
        b"--frame\r\nContent-Disposition: form-data; " + rest.encode() + b"\r\n\r\n" + content + b"\r\n"
        for rest, content in parts
    )
    return {"data": frame + end, "content_type": "multipart/form-data; boundary=frame"}


def code_of(response: Any) -> tuple[str, str]:
    """Where the first problem is, and its code."""
    assert_problem(response, 422, "invalid")
    first = response.json()["errors"][0]
    return first["pointer"], first["code"]


# --- Taking -----------------------------------------------------------------------------------------


def test_a_picture_is_stored_hashed_and_awaits_its_review(api: ApiClient, pictures: Path) -> None:
    response = upload(api, user_id="u-1")

    body = response.json()
    row = Submission.objects.get()
    assert response.status_code == 201
    assert response["Location"] == f"{PATH}/{row.pk}"
    assert (body["id"], body["sha256_hash"], body["status"]) == (str(row.pk), HASH, "awaiting_review")
    assert (body["image_content_type"], body["image_bytes"], body["user_id"]) == (
        "image/png",
        len(PNG),
        "u-1",
    )
    assert [path.read_bytes() for path in stored_in(pictures)] == [PNG]
    assert body == api.send("get", response["Location"]).json()
    assert not Workflow.objects.exists()


def test_the_picture_is_shown_at_its_address(api: ApiClient, settings: Any) -> None:
    url = upload(api).json()["image_url"]

    shown = api.get(url.removeprefix(settings.PUBLIC_URL))

    assert b"".join(shown.streaming_content) == PNG  # type: ignore[attr-defined]
    assert shown["Content-Type"] == "image/png"


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k-1"}])
def test_a_form_is_one_however_its_type_is_spelled(api: ApiClient, key: dict[str, str]) -> None:
    whole = form(('name="image"; filename="a.png"', PNG))
    whole["content_type"] = "Multipart/Form-Data; boundary=frame"

    response = api.post(PATH, **whole, headers=key)

    assert (response.status_code, response.json()["sha256_hash"]) == (201, HASH)


@pytest.mark.parametrize("content", [b"<!--    WEBP--><script>alert(1)</script>", b"RIFFsizeWAVE", b"<svg/>"])
def test_what_only_looks_like_a_picture_is_none(api: ApiClient, content: bytes) -> None:
    assert code_of(upload(api, picture(content))) == ("/image", "not_a_picture")


def test_a_webp_is_a_picture(api: ApiClient) -> None:
    assert upload(api, picture(b"RIFF\x04\x00\x00\x00WEBPVP8 ")).json()["image_content_type"] == "image/webp"


def test_a_hash_alone_is_taken_too(api: ApiClient) -> None:
    body = api.send("post", PATH, {"sha256_hash": HASH, "proof_system": "plonk"}).json()

    assert (body["sha256_hash"], body["proof_system"]) == (HASH, "plonk")
    assert {body[name] for name in ("image_url", "image_content_type", "image_bytes")} == {None}


def test_what_is_not_known_yet_is_null(api: ApiClient) -> None:
    body = api.send("post", PATH, {"sha256_hash": HASH}).json()

    assert "" not in body.values()
    for name in ("user_id", "workflow_id", "decision", "transaction_id", "explorer_url", "proof_json"):
        assert body[name] is None
    idle: dict[str, Any] = {"retry_count": 0, "processing_started_at": None, "stages": {}}
    assert (body["generation"], body["publishing"]) == (idle, idle)


def test_a_second_post_is_answered_with_the_first(api: ApiClient, pictures: Path) -> None:
    first = upload(api)

    again = upload(api, picture(name="other.jpg", content_type="text/html"), user_id="u-2")

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again["Location"] == first["Location"]
    assert len(stored_in(pictures)) == 1


def test_a_picture_that_comes_later_is_added_to_its_hash(api: ApiClient, pictures: Path) -> None:
    by_hash = api.send("post", PATH, {"sha256_hash": HASH})

    with_picture = upload(api)

    assert (with_picture.status_code, with_picture.json()["id"]) == (200, by_hash.json()["id"])
    assert with_picture.json()["image_bytes"] == len(PNG)
    assert len(stored_in(pictures)) == 1


def test_a_rejected_hash_may_be_submitted_again(api: ApiClient, tenant: Tenant) -> None:
    make_submission(tenant, sha256_hash=HASH, status="rejected")

    response = upload(api)

    assert response.status_code == 201
    assert Submission.objects.filter(sha256_hash=HASH).count() == 2


def test_two_tenants_submit_the_same_picture(api: ApiClient, other_tenant: Tenant) -> None:
    theirs = ApiClient(make_key(other_tenant)[1])

    assert (upload(api).status_code, upload(theirs).status_code) == (201, 201)


@pytest.mark.django_db(transaction=True)
def test_two_posts_at_once_make_one_submission_and_one_picture(pictures: Path) -> None:
    text = make_key(make_tenant())[1]

    answers = at_once(*[lambda: upload(ApiClient(text)) for _ in range(2)])

    assert sorted(answer.status_code for answer in answers) == [200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    (path,) = stored_in(pictures)
    assert Submission.objects.get().image.endswith(path.name)
    assert path.parent.name in Submission.objects.get().image


def test_a_hash_is_answered_again_by_its_idempotency_key(api: ApiClient) -> None:
    first = api.send("post", PATH, {"sha256_hash": HASH}, idempotency_key="mine-1")
    again = api.send("post", PATH, {"sha256_hash": HASH}, idempotency_key="mine-1")

    assert (first.status_code, again.status_code, again["Idempotent-Replayed"]) == (201, 201, "true")
    assert again.content == first.content


def test_a_picture_larger_than_a_body_is_taken_with_an_idempotency_key_too(
    api: ApiClient, settings: Any
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    content = PNG + b"x" * 200_000

    first, again = [
        api.post(PATH, {"image": picture(content)}, headers={"Idempotency-Key": "mine-1"}) for _ in range(2)
    ]

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["sha256_hash"] == hashlib.sha256(content).hexdigest()
    assert not IdempotencyKey.objects.exists()


# --- Approving at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False])
def test_auto_approve_starts_the_work(api: ApiClient, as_json: bool) -> None:
    if as_json:
        response = api.send("post", PATH, {"sha256_hash": HASH, "auto_approve": True})
    else:
        response = upload(api, auto_approve="true")

    body = response.json()
    assert (response.status_code, body["status"], body["decision"]) == (201, "proof_generation", "approved")
    assert body["workflow_id"] == f"submission-{body['id']}"
    assert Job.objects.filter(kind="submissions.generate_proof", status="queued").count() == 1


def test_auto_approve_asks_for_the_scope_manage_too(
    tenant: Tenant, api_as: Callable[..., ApiClient], pictures: Path
) -> None:
    submitter = api_as(tenant, "submit")

    refused = upload(submitter, auto_approve="true")

    body = assert_problem(refused, 403, "scope_missing")
    assert "auto_approve" in str(body["detail"])
    assert not Submission.objects.exists()
    assert stored_in(pictures) == []
    assert upload(submitter, auto_approve="false").status_code == 201


# --- Refusing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, ("/sha256_hash", "required")),
        ([], ("", "invalid")),
        ({"sha256_hash": HASH.upper()}, ("/sha256_hash", "invalid")),
        ({"sha256_hash": HASH[:-1]}, ("/sha256_hash", "invalid")),
        ({"sha256_hash": 7}, ("/sha256_hash", "invalid")),
        ({"sha256_hash": None}, ("/sha256_hash", "null")),
        ({"sha256_hash": HASH, "image": "x"}, ("/image", "unknown_field")),
        ({"sha256_hash": HASH, "proof_system": "snark"}, ("/proof_system", "invalid_choice")),
        ({"sha256_hash": HASH, "proof_system": "stark"}, ("/proof_system", "prover_not_installed")),
        ({"sha256_hash": HASH, "user_id": "u" * 201}, ("/user_id", "max_length")),
        ({"sha256_hash": HASH, "auto_approve": "perhaps"}, ("/auto_approve", "invalid")),
    ],
)
def test_what_a_body_may_not_say(api: ApiClient, body: Any, problem: tuple[str, str]) -> None:
    response = api.send("post", PATH, body)

    assert code_of(response) == problem
    assert not Submission.objects.exists()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, ("/image", "required")),
        ({"image": "no file"}, ("/image", "invalid")),
        ({"image": picture(b"")}, ("/image", "empty")),
        ({"image": picture(b"<svg onload=alert(1)>")}, ("/image", "not_a_picture")),
        ({"image": picture(b"%PDF-1.7 " + PNG)}, ("/image", "not_a_picture")),
        ({"image": picture(PNG[:3])}, ("/image", "not_a_picture")),
        ({"image": picture(), "sha256_hash": "0" * 64}, ("/sha256_hash", "hash_mismatch")),
        ({"image": picture(), "sha256_hash": HASH.upper()}, ("/sha256_hash", "invalid")),
        ({"image": [picture(), picture()]}, ("/image", "repeated")),
        ({"image": picture(), "other": picture()}, ("/other", "unknown_field")),
        ({"image": picture(), "pages": "2"}, ("/pages", "unknown_field")),
        ({"image": picture(), "user_id": ["a", "b"]}, ("/user_id", "repeated")),
        ({"image": picture(), "user_id": "a\0b"}, ("/user_id", "null_characters_not_allowed")),
        ({"image": picture(), "user_id\0": "a"}, ("/user_id\0", "unknown_field")),
        ({"image": picture(), "proof_system": "stark"}, ("/proof_system", "prover_not_installed")),
        ({"image": picture(), "auto_approve": "\0"}, ("/auto_approve", "invalid")),
    ],
)
def test_what_a_form_may_not_hold(
    api: ApiClient, pictures: Path, fields: dict[str, Any], problem: tuple[str, str]
) -> None:
    for file in fields.values():
        for each in file if isinstance(file, list) else [file]:
            getattr(each, "seek", id)(0)  # a parameter serves every run

    response = api.post(PATH, fields)

    assert code_of(response) == problem
    assert not Submission.objects.exists()
    assert stored_in(pictures) == []


@pytest.mark.parametrize("name", ["..", "a/../../b.svg", "ä.exe", "x" * 900, "C:\\art.php", "/"])
def test_neither_the_name_nor_the_declared_type_counts(api: ApiClient, pictures: Path, name: str) -> None:
    response = api.post(PATH, **form((f'name="image"; filename="{name}"\r\nContent-Type: text/html', PNG)))

    (path,) = stored_in(pictures)
    assert (response.status_code, response.json()["image_content_type"]) == (201, "image/png")
    assert path.name == f"{HASH[:16]}.png"


def test_a_picture_with_its_own_hash_is_taken(api: ApiClient) -> None:
    assert upload(api, sha256_hash=HASH).status_code == 201


def test_a_picture_of_the_greatest_size_is_taken_and_one_byte_more_is_not(
    api: ApiClient, settings: Any, pictures: Path
) -> None:
    settings.SUBMISSION_IMAGE_MAX_BYTES = 100_000

    too_large = upload(api, picture(PNG + b"x" * (100_001 - len(PNG))))
    at_most = upload(api, picture(PNG + b"x" * (100_000 - len(PNG))))

    assert_problem(too_large, 413, "body_too_large")
    assert at_most.status_code == 201
    assert len(stored_in(pictures)) == Submission.objects.count() == 1


def test_a_form_that_says_it_is_too_large_is_refused_unread(api: ApiClient, settings: Any) -> None:
    declared = settings.SUBMISSION_IMAGE_MAX_BYTES + settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1

    response = api.post(PATH, **form(("x", b"")), CONTENT_LENGTH=str(declared))

    assert_problem(response, 413, "body_too_large")


def test_text_of_more_than_a_body_is_refused(api: ApiClient, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000

    assert_problem(upload(api, user_id="u" * 20_000), 413, "body_too_large")


@pytest.mark.parametrize(
    "sent",
    [
        form(('name="image"; filename="a.png"', PNG), end=b""),
        form(('name="user_id"', b"u"), end=b""),
        form(('name="image"; filename="a.png"', PNG), end=b"--frame"),
        {"data": b"nothing of a form", "content_type": "multipart/form-data; boundary=frame"},
        {"data": b"--frame--", "content_type": "multipart/form-data"},
        {"data": b"--frame--", "content_type": "multipart/form-data; boundary=" + "x" * 210},
        form((f'name="image"; filename="a.png"\r\nX: {"x" * 3_000}', PNG)),
        form(*[(f'name="f{n}"', b"") for n in range(1_100)]),
        form(('name="image"; filename="a"\r\nContent-Transfer-Encoding: base64', b"AAAAA")),
    ],
)
def test_a_broken_form_is_400_and_leaves_nothing(
    api: ApiClient, pictures: Path, sent: dict[str, Any]
) -> None:
    response = api.post(PATH, **sent)

    assert_problem(response, 400, "parse_error")
    assert not Submission.objects.exists()
    assert stored_in(pictures) == []


def test_a_length_that_lies_makes_a_broken_form(api: ApiClient) -> None:
    sent = form(('name="image"; filename="a.png"', PNG))

    response = api.post(PATH, **sent, CONTENT_LENGTH=str(len(sent["data"]) - 20))

    assert_problem(response, 400, "parse_error")
    assert not Submission.objects.exists()


@pytest.mark.parametrize("content_type", ["image/png", "application/x-www-form-urlencoded", "text/plain"])
def test_another_content_type_415(api: ApiClient, content_type: str) -> None:
    assert_problem(api.post(PATH, PNG, content_type=content_type), 415, "unsupported_media_type")


def test_no_temporary_file_is_left(api: ApiClient, settings: Any, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    settings.SUBMISSION_IMAGE_MAX_BYTES = 100_000
    settings.FILE_UPLOAD_TEMP_DIR.mkdir()

    upload(api)
    upload(api, picture(PNG + b"x" * 100_000))
    upload(api, picture(b"no picture"))
    upload(api, [picture(), picture()])
    api.post(PATH, **form(('name="image"; filename="a.png"', PNG), end=b""))

    assert stored_in(settings.FILE_UPLOAD_TEMP_DIR) == []


# --- Reading ----------------------------------------------------------------------------------------


def test_the_list_is_newest_first_and_holds_no_proofs(
    api: ApiClient, tenant: Tenant, statements: list[str]
) -> None:
    rows = [make_submission(tenant, status=status) for status in Submission.Status.values]
    statements.clear()

    results = api.send("get", PATH).json()["results"]

    assert [row["id"] for row in results] == [str(row.pk) for row in reversed(rows)]
    assert not any("proof_json" in row for row in results)
    assert not any('"proof_json"' in statement for statement in statements)


@pytest.mark.parametrize(
    "found",
    [
        {"sha256_hash": HASH},
        {"status": "rejected"},
        {"proof_system": "plonk"},
        {"user_id": "u-7"},
        {"decided_by": "alice"},
        {"trace_id": "7" * 32},
    ],
)
def test_the_list_is_filtered(api: ApiClient, tenant: Tenant, found: dict[str, str]) -> None:
    make_submission(tenant)
    wanted = make_submission(tenant, **found)

    results = api.get(PATH, found).json()["results"]

    assert [row["id"] for row in results] == [str(wanted.pk)]


def test_a_filter_that_holds_a_nul_422(api: ApiClient) -> None:
    assert code_of(api.get(PATH, {"sha256_hash": "\0"})) == ("/sha256_hash", "invalid")


def test_a_page_of_the_list_costs_the_same_for_many(
    api: ApiClient, tenant: Tenant, django_assert_num_queries: Any
) -> None:
    for _ in range(5):
        make_submission(tenant, workflow=make_workflow(tenant, kind="submission"))
    api.send("get", PATH)

    with django_assert_num_queries(1):
        assert len(api.send("get", PATH).json()["results"]) == 5


def test_a_stored_proof_is_shown_as_json(api: ApiClient, tenant: Tenant) -> None:
    proof, seconds = {"system": "groth16", "a": ["0x1", "0x2"]}, {"setup": 0.4, "prove": 0.2, "verify": 0.1}
    row = make_submission(
        tenant,
        status="proof_publishing",
        proof_json=json.dumps(proof),
        generation_stages=seconds,
        publishing_retry_count=2,
    )

    body = api.send("get", f"{PATH}/{row.pk}").json()

    assert body["proof_json"] == proof
    assert body["generation"]["stages"] == seconds
    assert body["publishing"]["retry_count"] == 2


def test_a_complete_submission_says_where_it_is(api: ApiClient, tenant: Tenant) -> None:
    row = make_submission(
        tenant, status="complete", chain_id=421614, block_number=7, is_verified_on_chain=True
    )

    body = api.send("get", f"{PATH}/{row.pk}").json()

    assert body["explorer_url"] == f"https://sepolia.arbiscan.io/tx/{row.transaction_id}"
    assert (body["block_number"], body["is_verified_on_chain"], body["proof_json"]) == (7, True, None)


def test_a_workflow_that_is_gone_is_null(api: ApiClient, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, kind="submission")
    row = make_submission(tenant, workflow=workflow)
    named = api.send("get", f"{PATH}/{row.pk}").json()["workflow_id"]

    Workflow.objects.filter(pk=workflow.pk).delete()

    assert named == workflow.workflow_id
    assert api.send("get", f"{PATH}/{row.pk}").json()["workflow_id"] is None


# --- Reviewing --------------------------------------------------------------------------------------


def test_approving_starts_the_work_and_notes_who(api: ApiClient, tenant: Tenant) -> None:
    row = make_submission(tenant, user_id="u-1")

    response = api.send("post", f"{PATH}/{row.pk}/approve", {"reason": "Her own."}, x_actor_id="alice")

    body = response.json()
    workflow = Workflow.objects.get()
    assert (response.status_code, body["status"], body["decision"]) == (200, "proof_generation", "approved")
    assert (body["decided_by"], body["decision_reason"]) == ("alice", "Her own.")
    assert body["workflow_id"] == workflow.workflow_id == f"submission-{row.pk}"
    assert (workflow.user_id, workflow.trace_id) == ("u-1", row.trace_id)


def test_rejecting_ends_it_and_says_why(api: ApiClient, tenant: Tenant) -> None:
    row = make_submission(tenant)

    response = api.send("post", f"{PATH}/{row.pk}/reject", {"reason": "A copy."}, x_actor_id="alice")

    body = response.json()
    assert (response.status_code, body["status"], body["decision"]) == (200, "rejected", "rejected")
    assert body["failure_reason"] == "Rejected by alice: A copy."
    assert body["failed_at"] is not None


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 1_001}])
def test_rejecting_asks_for_a_reason(api: ApiClient, tenant: Tenant, body: dict[str, str]) -> None:
    row = make_submission(tenant)

    assert code_of(api.send("post", f"{PATH}/{row.pk}/reject", body))[0] == "/reason"
    assert Submission.objects.get().status == "awaiting_review"


def test_what_was_skipped_is_published_once_there_is_a_chain(
    api: ApiClient, tenant: Tenant, settings: Any
) -> None:
    row = make_submission(tenant, status="proof_publishing", skipped_reason="no chain configured")
    path = f"{PATH}/{row.pk}/publish"

    assert_problem(api.send("post", path, {}), 409, "invalid_transition")
    for name, value in CHAIN.items():
        setattr(settings, name, value)
    response = api.send("post", path, {})

    assert (response.status_code, response.json()["skipped_reason"]) == (200, None)
    assert response.json()["status"] == "proof_generation"  # it was proved for another address


@pytest.mark.parametrize(
    ("verb", "states"),
    [
        ("approve", ["proof_generation", "proof_publishing", "complete", "rejected"]),
        ("reject", ["complete", "rejected"]),
        ("publish", ["awaiting_review", "proof_generation", "proof_publishing", "complete", "rejected"]),
    ],
)
def test_a_verb_out_of_its_time_409(
    api: ApiClient, tenant: Tenant, settings: Any, verb: str, states: list[str]
) -> None:
    for name, value in CHAIN.items():
        setattr(settings, name, value)
    for status in states:
        row = make_submission(tenant, status=status)

        response = api.send("post", f"{PATH}/{row.pk}/{verb}", {"reason": "now"})

        assert_problem(response, 409, "invalid_transition")
        assert Submission.objects.get(pk=row.pk).status == status


@pytest.mark.parametrize("verb", ["approve", "reject", "publish"])
def test_a_verb_takes_only_what_it_knows(api: ApiClient, tenant: Tenant, verb: str) -> None:
    row = make_submission(tenant)

    response = api.send("post", f"{PATH}/{row.pk}/{verb}", {"reason": "x", "reasons": "y"})

    assert code_of(response) == ("/reasons", "unknown_field")


def test_a_submission_has_its_own_address() -> None:
    assert reverse("submissions") == PATH
