"""Signatures in both forms: what others make is taken, what ours make others take, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import standardwebhooks

from webhooks.signatures import (
    TOLERANCE_SECONDS,
    is_standard,
    make_secret,
    matches_plain,
    matches_standard,
    sign_plain,
    sign_standard,
)

BODY = b'{"workflow_id": "order-7"}'
NOW = 1_767_225_600
SECRET = make_secret()


def test_the_plain_form_is_githubs() -> None:
    """The example of https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries."""
    signature = sign_plain("It's a Secret to Everybody", b"Hello, World!")

    assert signature == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert matches_plain(signature, [SECRET, "It's a Secret to Everybody"], b"Hello, World!")


def test_a_plain_hmac_of_the_whole_secret_is_taken() -> None:
    digest = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()

    assert matches_plain(f"sha256={digest}", ["another", SECRET], BODY) == SECRET


def test_what_the_reference_library_signs_is_taken() -> None:
    at = datetime.fromtimestamp(NOW, UTC)
    signature = standardwebhooks.Webhook(SECRET).sign("msg_1", at, BODY.decode())

    assert matches_standard(signature, "msg_1", str(NOW), ["short", SECRET], BODY, now=NOW) == SECRET


def test_the_reference_library_takes_what_is_signed_here() -> None:
    now = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign_standard(SECRET, "msg_1", now, BODY),
    }

    assert standardwebhooks.Webhook(SECRET).verify(BODY, headers) == {"workflow_id": "order-7"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda given: "",
        lambda given: given[:-1],
        lambda given: given + "0",
        lambda given: given.upper(),
        lambda given: "sha256=" + given[7:].upper(),
        lambda given: given[7:],
        lambda given: "sha1=" + given[7:],
        lambda given: f"{given},{given}",
        lambda given: f"{given} ",
        lambda given: f"{given}\n",
        lambda given: given[:-1] + "é",
        lambda given: given[:-1] + "\u0661",
        lambda given: given[:-1] + "\udcff",
        lambda given: "sha256=" + "0" * 64,
        lambda given: "sha256=" + base64.b64encode(bytes.fromhex(given[7:])).decode(),
    ],
)
def test_a_plain_signature_that_is_not_exactly_right_is_none(spoil: Callable[[str], str]) -> None:
    assert matches_plain(spoil(sign_plain(SECRET, BODY)), [SECRET], BODY) is None


def test_a_plain_signature_of_other_bytes_is_none() -> None:
    signature = sign_plain(SECRET, BODY)

    assert matches_plain(signature, [SECRET], BODY + b" ") is None
    assert matches_plain(signature, [SECRET + "x"], BODY) is None
    assert matches_plain(signature, [], BODY) is None


@pytest.mark.parametrize("seconds", [0, TOLERANCE_SECONDS, -TOLERANCE_SECONDS])
def test_a_timestamp_may_be_five_minutes_off(seconds: int) -> None:
    signature = sign_standard(SECRET, "msg_1", NOW + seconds, BODY)

    assert matches_standard(signature, "msg_1", str(NOW + seconds), [SECRET], BODY, now=NOW) == SECRET


@pytest.mark.parametrize("seconds", [TOLERANCE_SECONDS + 1, -TOLERANCE_SECONDS - 1, -7 * 86_400])
def test_an_older_or_later_one_is_none(seconds: int) -> None:
    signature = sign_standard(SECRET, "msg_1", NOW + seconds, BODY)

    assert matches_standard(signature, "msg_1", str(NOW + seconds), [SECRET], BODY, now=NOW) is None


@pytest.mark.parametrize(
    ("webhook_id", "timestamp"),
    [
        ("", str(NOW)),
        ("msg.1", str(NOW)),
        ("msg 1", str(NOW)),
        ("m" * 201, str(NOW)),
        ("é", str(NOW)),
        ("msg_1", ""),
        ("msg_1", f"+{NOW}"),
        ("msg_1", f" {NOW}"),
        ("msg_1", f"{NOW}.0"),
        ("msg_1", "9" * 13),
        ("msg_1", "soon"),
    ],
)
def test_an_id_or_time_that_is_none_is_not_verified(webhook_id: str, timestamp: str) -> None:
    signed = f"{webhook_id}.{timestamp}.".encode() + BODY
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()

    assert matches_standard(signature, webhook_id, timestamp, [SECRET], BODY, now=NOW) is None


def test_one_right_signature_of_a_list_suffices() -> None:
    right = sign_standard(SECRET, "msg_1", NOW, BODY)
    wrong = sign_standard(make_secret(), "msg_1", NOW, BODY)

    def verify(header: str) -> str | None:
        return matches_standard(header, "msg_1", str(NOW), [SECRET], BODY, now=NOW)

    assert verify(f"v1a,AAAA {wrong} {right}") == SECRET
    assert verify(wrong) is None
    assert verify(f"{right},{right}") is None
    assert verify(right.replace("v1,", "v2,")) is None
    assert verify(right[:-1]) is None
    assert verify("é") is None
    assert verify("") is None
    assert verify(f"{wrong} " * 16 + right) is None


def test_a_secret_that_is_no_base64_signs_in_the_plain_form_alone() -> None:
    secret = "a phrase of our own!"

    assert not is_standard(secret)
    assert is_standard(SECRET)
    with pytest.raises(ValueError, match="base64"):
        sign_standard(secret, "msg_1", NOW, BODY)
    for nothing in ("v0", "v1,", "b"):
        assert matches_standard(nothing, "msg_1", str(NOW), [SECRET], BODY, now=NOW) is None
    # Nothing at all is signed with it: not even what would be right for a key of no bytes.
    empty = (
        "v1," + base64.b64encode(hmac.new(b"", b"msg_1.%d." % NOW + BODY, hashlib.sha256).digest()).decode()
    )
    for header in ("v0", empty):
        assert matches_standard(header, "msg_1", str(NOW), [secret], BODY, now=NOW) is None
