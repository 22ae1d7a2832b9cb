"""What is not signed, not timely, too large or no JSON is refused by one code path, without a traceback."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import standardwebhooks
from django.db import connections
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from jobs.models import Event, Job, Tenant, Workflow
from tests.factories import make_workflow
from tests.jobs.test_api_access import assert_problem
from tests.webhooks.calls import (
    NOTIFIED,
    PATHS,
    make_sender,
    plain,
    post,
    send,
    standard,
)
from webhooks.models import Receipt, Sender, SenderSecret
from webhooks.services.senders import rotate_sender_secret
from webhooks.signatures import make_secret, sign_plain

CONTENT = {"workflow_id": "order-7", "user_id": "user-1"}
OTHER = make_secret()


@pytest.fixture
def sender(tenant: Tenant) -> Sender:
    return make_sender(tenant)[0]


@pytest.fixture
def secret(sender: Sender) -> str:
    return sender.secrets.get().text


def assert_refused(response: Any) -> None:
    """Every failed check is answered with the same words."""
    problem = assert_problem(response, 401, "signature_invalid")
    del problem["trace_id"]
    assert problem == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "code": "signature_invalid",
        "detail": "The signature is missing or wrong.",
        "errors": [],
    }


@pytest.mark.parametrize("path", [*PATHS, *(f"{path}/" for path in PATHS)])
def test_a_call_signed_in_either_form_or_both_is_taken(tenant: Tenant, secret: str, path: str) -> None:
    forms = [
        plain(secret, CONTENT),
        standard(secret, {**CONTENT, "n": 2}),
        plain(secret, {**CONTENT, "n": 3}) | standard(secret, {**CONTENT, "n": 3}, id_="msg_3"),
    ]

    answers = [
        post(path, CONTENT if n == 1 else {**CONTENT, "n": n}, form) for n, form in enumerate(forms, start=1)
    ]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.json()["is_duplicate"] for answer in answers] == [False] * 3
    assert Receipt.objects.filter(tenant=tenant).count() == 3


def test_the_reference_library_is_understood(secret: str) -> None:
    now = timezone.now()
    body = json.dumps(CONTENT)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(secret).sign("msg_1", now, body),
    }

    assert post(NOTIFIED, body.encode(), headers).status_code == 200


def header(value: str) -> dict[str, str]:
    return {"x-webhook-signature": value}


def unless(name: str, headers: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


@pytest.mark.parametrize(
    "forge",
    [
        lambda secret: {},
        lambda secret: header(""),
        lambda secret: plain(OTHER, CONTENT),
        lambda secret: header(sign_plain(secret, b"{}")),
        lambda secret: header(sign_plain(secret, b"")),
        lambda secret: header(plain(secret, CONTENT)["x-webhook-signature"][:-1]),
        lambda secret: header(plain(secret, CONTENT)["x-webhook-signature"].upper()),
        lambda secret: header(plain(secret, CONTENT)["x-webhook-signature"][:-1] + "é"),
        lambda secret: header(",".join([plain(secret, CONTENT)["x-webhook-signature"]] * 2)),
        lambda secret: {"x-hub-signature-256": plain(secret, CONTENT)["x-webhook-signature"]},
        lambda secret: standard(OTHER, CONTENT),
        lambda secret: standard(secret, CONTENT, at=time.time() - 7 * 86_400),
        lambda secret: standard(secret, CONTENT, at=time.time() + 400),
        lambda secret: standard(secret, CONTENT) | {"webhook-id": "msg_2"},
        lambda secret: standard(secret, CONTENT) | {"webhook-timestamp": "soon"},
        lambda secret: standard(secret, CONTENT) | {"webhook-signature": "v0"},
        lambda secret: standard(secret, CONTENT) | {"webhook-signature": "v1,é"},
        lambda secret: unless("webhook-id", standard(secret, CONTENT)),
        lambda secret: unless("webhook-timestamp", standard(secret, CONTENT)),
        lambda secret: unless("webhook-signature", standard(secret, CONTENT)),
        lambda secret: plain(secret, CONTENT) | standard(OTHER, CONTENT),
        lambda secret: plain(OTHER, CONTENT) | standard(secret, CONTENT),
        lambda secret: plain(secret, CONTENT) | {"webhook-id": "msg_unsigned"},
        lambda secret: plain(secret, CONTENT) | standard(secret, CONTENT, at=time.time() - 7 * 86_400),
    ],
)
def test_anything_else_is_refused_in_the_same_words(
    secret: str, forge: Callable[[str], dict[str, str]]
) -> None:
    for path in PATHS:
        response = post(path, CONTENT, forge(secret))

        assert_refused(response)
        receipt = Receipt.objects.latest("pk")
        assert (receipt.state, receipt.reason) == ("refused", "signature_invalid")
        assert (receipt.tenant, receipt.sender, receipt.key) == (None, None, "")
    assert Receipt.objects.count() == len(PATHS)


def test_both_forms_must_be_the_same_senders(tenant: Tenant, other_tenant: Tenant, secret: str) -> None:
    _, theirs = make_sender(other_tenant)

    assert_refused(post(NOTIFIED, CONTENT, plain(secret, CONTENT) | standard(theirs, CONTENT)))
    assert_refused(post(NOTIFIED, CONTENT, plain(theirs, CONTENT) | standard(secret, CONTENT)))


@pytest.mark.parametrize("sign", [plain, standard])
def test_secrets_that_are_no_longer_live_are_refused(
    sender: Sender, secret: str, sign: Callable[[str, Any], dict[str, str]]
) -> None:
    new = rotate_sender_secret(sender, keep_hours=1)

    assert post(NOTIFIED, CONTENT, sign(new, CONTENT)).status_code == 200
    assert post(NOTIFIED, CONTENT, sign(secret, CONTENT)).status_code == 200
    SenderSecret.objects.exclude(expires_at=None).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert_refused(post(NOTIFIED, CONTENT, sign(secret, CONTENT)))
    assert post(NOTIFIED, CONTENT, sign(new, CONTENT)).status_code == 200


def test_an_inactive_sender_and_one_of_an_inactive_tenant_are_refused(
    tenant: Tenant, sender: Sender, secret: str
) -> None:
    Sender.objects.update(is_active=False)
    assert_refused(send(NOTIFIED, CONTENT, secret))
    Sender.objects.update(is_active=True)
    Tenant.objects.filter(pk=tenant.pk).update(is_active=False)
    assert_refused(send(NOTIFIED, CONTENT, secret))
    Tenant.objects.filter(pk=tenant.pk).update(is_active=True)
    assert send(NOTIFIED, CONTENT, secret).status_code == 200


def test_a_sender_that_is_named_is_the_only_one_asked(
    tenant: Tenant, other_tenant: Tenant, sender: Sender, secret: str
) -> None:
    other, _ = make_sender(other_tenant)

    assert send(f"{NOTIFIED}?sender={sender.pk}", CONTENT, secret).status_code == 200
    for name in (other.pk, "0" * 32, "nobody", "", "%00", "'", "%ff", "x" * 4_000):
        assert_refused(send(f"{NOTIFIED}?sender={name}", CONTENT, secret))


def test_a_secret_that_no_key_opens_is_passed_over(
    tenant: Tenant, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    SenderSecret.objects.update(sealed="gone")
    _, secret = make_sender(tenant, "another")

    assert send(NOTIFIED, CONTENT, secret).status_code == 200
    assert f"of sender {sender.pk} is sealed with a key that is gone" in caplog.text


BODIES: list[tuple[bytes, int, str]] = [
    (b"", 400, "parse_error"),
    (b"   ", 400, "parse_error"),
    (b"nonsense", 400, "parse_error"),
    (b'{"workflow_id": "a"', 400, "parse_error"),
    (b'{"workflow_id": "a", "workflow_id": "b", "user_id": "u"}', 400, "parse_error"),
    (b'{"workflow_id": "a", "user_id": "u", "n": NaN}', 400, "parse_error"),
    (b'{"n": Infinity}', 400, "parse_error"),
    (b"\xff\xfe", 400, "parse_error"),
    (b"\xef\xbb\xbf{}", 400, "parse_error"),
    ('{"workflow_id": "a", "user_id": "u"}'.encode("utf-16"), 400, "parse_error"),
    ('{"workflow_id": "a"}'.encode("utf-7") + b"+AGE-", 400, "parse_error"),
    (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", 400, "parse_error"),
    (b'{"n": ' + b"9" * 5_000 + b"}", 400, "parse_error"),
    (b"a=b&c=d", 400, "parse_error"),
    (b'{"workflow_id": "a", "user_id": "u", "n": 1e999}', 422, "invalid"),
    (b'{"workflow_id": "a", "user_id": "u", "n": 1e131071}', 422, "invalid"),
    (b'{"workflow_id": "a\\u0000", "user_id": "u"}', 422, "invalid"),
    (b'{"workflow_id": "a", "user_id": "u", "\\u0000": 1}', 422, "invalid"),
    (b'{"workflow_id": "a", "user_id": "\\ud800"}', 422, "invalid"),
    (b'{"a":' * 70 + b"1" + b"}" * 70, 422, "invalid"),
    (b"[" * 2_000 + b"]" * 2_000, 422, "invalid"),
    (b"[" * 200_000, 422, "invalid"),
    (b"null", 422, "invalid"),
    (b"[]", 422, "invalid"),
    (b'[{"workflow_id": "a"}]', 422, "invalid"),
    (b'"text"', 422, "invalid"),
    (b"7", 422, "invalid"),
    (b'{"workflow_id": 7, "user_id": []}', 422, "invalid"),
    (b'{"workflow_id": "%s", "user_id": "u"}' % (b"a" * 9_000), 422, "invalid"),
]


@pytest.mark.parametrize(("body", "status", "code"), BODIES)
def test_a_bad_body_is_a_problem_and_leaves_a_receipt(
    secret: str, body: bytes, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in PATHS:
        assert_problem(send(path, body, secret), status, code)

        receipt = Receipt.objects.latest("pk")
        assert (receipt.state, receipt.reason, receipt.size) == ("refused", code, len(body))
    assert not Job.objects.exists()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


def test_an_unsigned_body_is_not_even_parsed(secret: str) -> None:
    for body, _, _ in BODIES:
        assert_refused(post(NOTIFIED, body))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("length", [1_048_577, 2_000_000])
def test_a_body_that_is_too_large_413(secret: str, path: str, length: int) -> None:
    body = b" " * length

    assert_problem(send(path, body, secret), 413, "body_too_large")

    receipt = Receipt.objects.get()
    assert (receipt.state, receipt.reason, receipt.size) == ("refused", "body_too_large", length)
    assert (receipt.body, receipt.digest) == (None, "")


def test_the_largest_body_is_taken(secret: str) -> None:
    content = json.dumps({**CONTENT, "filler": ""}).encode()
    body = content.replace(b'""', b'"' + b"x" * (1_048_576 - len(content)) + b'"')

    assert len(body) == 1_048_576
    assert send(NOTIFIED, body, secret).status_code == 200


def test_a_length_that_lies_is_no_error(secret: str) -> None:
    client = Client(raise_request_exception=False)
    for length, status in (("5000000", 413), ("-5", 401), ("12", 401), ("many", 400)):
        response = client.generic(
            "POST",
            NOTIFIED,
            json.dumps(CONTENT),
            content_type="application/json",
            headers=plain(secret, CONTENT),
            CONTENT_LENGTH=length,
        )
        assert response.status_code == status, length


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data; boundary=x", "text/json"])
def test_another_content_type_415_but_first_the_signature(secret: str, content_type: str) -> None:
    signed = post(NOTIFIED, CONTENT, plain(secret, CONTENT), content_type=content_type)
    unsigned = post(NOTIFIED, CONTENT, content_type=content_type)

    assert_problem(signed, 415, "unsupported_media_type")
    assert_refused(unsigned)


@pytest.mark.parametrize("charset", ["utf-8", "UTF-16", "zlib", "no-such"])
def test_the_charset_that_is_named_is_not_believed(secret: str, charset: str) -> None:
    response = post(
        NOTIFIED, CONTENT, plain(secret, CONTENT), content_type=f"application/json; charset={charset}"
    )

    assert response.status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_any_other_method_405(db: None, path: str) -> None:
    client = Client()
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        response = client.generic(method, path)

        assert (response.status_code, response["Allow"]) == (405, "POST")
        if method != "HEAD":
            assert_problem(response, 405, "method_not_allowed")
    assert not Receipt.objects.exists()


def test_no_other_plain_view_is_exempt_from_csrf() -> None:
    """The REST framework exempts its views and has no cookies; besides them it is the three paths alone."""
    exempt = {
        str(pattern.pattern)
        for pattern in all_patterns(get_resolver())
        if getattr(pattern.callback, "csrf_exempt", False) and not hasattr(pattern.callback, "cls")
    }

    assert exempt == {f"^{path[1:]}/?$" for path in PATHS}


def all_patterns(resolver: URLResolver) -> list[URLPattern]:
    found: list[URLPattern] = []
    for part in resolver.url_patterns:
        found += all_patterns(part) if isinstance(part, URLResolver) else [part]
    return found


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PATHS)
def test_while_the_database_is_away_503(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connections["default"]
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")

    response = send(path, CONTENT, OTHER)

    assert_problem(response, 503, "database_unavailable")
    assert response["Retry-After"] == "2"


def test_nothing_secret_is_kept_or_logged(
    tenant: Tenant, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    both = plain(secret, CONTENT) | standard(secret, CONTENT)
    private = {"authorization": "Bearer afd_private", "cookie": "sessionid=private", "x-api-key": "private"}

    post(NOTIFIED, CONTENT, both | private)
    post(NOTIFIED, CONTENT, both | private | plain(OTHER, CONTENT))

    taken, refused = Receipt.objects.order_by("pk")
    assert (taken.state, refused.state) == ("waiting", "refused")
    for receipt in (taken, refused):
        assert receipt.headers.keys() == {
            "content-type",
            "content-length",
            "webhook-id",
            "webhook-timestamp",
        }
        kept = str(vars(receipt))
        assert "private" not in kept
        assert not any(value in kept for name, value in both.items() if "signature" in name)
    for text in (secret, OTHER, "private", both["webhook-signature"]):
        assert text not in caplog.text


def test_headers_are_kept_within_bounds(secret: str) -> None:
    headers = {"user-agent": "ä\0" + "x" * 5_000, "webhook-attempt": "2"}

    assert post(NOTIFIED, CONTENT, plain(secret, CONTENT) | headers).status_code == 200

    kept = Receipt.objects.get().headers
    assert kept["user-agent"] == "ä\ufffd" + "x" * 498
    assert kept["webhook-attempt"] == "2"


def test_the_senders_tenant_is_the_only_one_reached(
    tenant: Tenant, other_tenant: Tenant, secret: str
) -> None:
    theirs = make_workflow(other_tenant, status="completed", workflow_id="order-7", user_id="user-1")

    for path in PATHS:
        send(path, CONTENT, secret)

    assert set(Receipt.objects.values_list("tenant", "workflow")) == {(tenant.pk, None)}
    assert not Event.objects.exists()
    assert Workflow.objects.get(pk=theirs.pk).notification_status == "none"
    assert set(Job.objects.values_list("tenant", flat=True)) == {tenant.pk}
