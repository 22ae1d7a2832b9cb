"""What an attestation loses when it is too long, and what stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attestations.models import Attestation
from attestations.services.attesting import ATTESTATION_MAX_BYTES
from attestations.truncation import STRING_MIN_BYTES, smart_truncate
from jobs.models import Tenant
from jobs.queue.claim import Lease
from jobs.queue.finish import finish
from jobs.queue.outcomes import Outcome, make_error
from tests.factories import make_job


def size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def test_what_fits_is_answered_as_it_is() -> None:
    value = {"a": ["x" * 1_000]}

    assert smart_truncate(value, size(value)) is value


def test_a_long_string_loses_its_middle() -> None:
    text = "".join(f"{number:04}" for number in range(1_000))

    short = smart_truncate({"a": text, "b": "stays"}, 1_000)

    head, note, tail = short["a"].split(" … ")
    count = int(note.removeprefix("[truncated: ").removesuffix(" characters]"))
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head) + count + len(tail) == len(text)
    assert 900 < size(short) <= 1_000
    assert short["b"] == "stays"


def test_the_longest_strings_are_cut_to_one_length() -> None:
    short = smart_truncate({"a": "a" * 50_000, "b": "b" * 10_000, "c": "c" * 1_000}, 6_000)

    assert short["c"] == "c" * 1_000
    assert abs(len(short["a"]) - len(short["b"])) < 10


def test_a_long_array_loses_its_tail() -> None:
    short = smart_truncate({"rows": list(range(5_000))}, 2_000)

    assert short["rows"] == [*range(100), {"$truncated": {"items": 4_900}}]


@pytest.mark.parametrize(("sign", "bytes_each"), [("ü", 2), ("🦊", 4), ('"', 2), ("\n", 2), ("\x01", 6)])
def test_characters_are_counted_as_they_are_written(sign: str, bytes_each: int) -> None:
    short = smart_truncate([sign * 10_000], 5_000)

    assert 4_000 < size(short) <= 5_000
    assert short[0].count(sign) * bytes_each > 4_000


def test_errors_and_ids_stay() -> None:
    error = {"code": "oom", "message": "m" * 5_000, "traceback": "t" * 50_000}

    short = smart_truncate({"error": error, "job_id": "i" * 300, "result": "r" * 50_000}, 8_000)

    assert (short["error"]["code"], short["error"]["message"]) == ("oom", "m" * 5_000)
    assert short["job_id"] == "i" * 300
    assert size(short) <= 8_000


def test_what_can_not_be_cut_is_answered_as_short_as_it_gets() -> None:
    value = {f"key-{number}": ["x" * 1_000] * 10 for number in range(100)}

    short = smart_truncate(value, 100)

    assert list(short) == list(value)
    for items in short.values():
        assert items[1] == {"$truncated": {"items": 9}}
        assert size(items[0]) < STRING_MIN_BYTES + 70


NESTED = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=20)
    | st.text(min_size=1, max_size=5).map(lambda text: text * 500),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=40,
)


def keys_of(value: Any) -> Any:
    return {key: keys_of(item) for key, item in value.items()} if isinstance(value, dict) else None


@settings(max_examples=60, derandomize=True, deadline=None)
@given(value=NESTED, share=st.floats(0.2, 1))
def test_it_never_grows_and_keeps_every_key_outside_arrays(value: Any, share: float) -> None:
    short = smart_truncate(value, int(size(value) * share))

    assert size(short) <= size(value)
    assert keys_of(short) == keys_of(value)


def test_an_attestation_is_shortened_and_intact(tenant: Tenant) -> None:
    job = make_job(tenant, status="running", payload={"log": ["line " * 50] * 4_000, "prompt": "a fox"})

    finish([Outcome(lease=Lease(job.pk, job.lease_token), status="completed", result="done. " * 200_000)])

    attestation = Attestation.objects.get()
    data = attestation.attestation_data
    assert size(data) <= ATTESTATION_MAX_BYTES
    assert "truncated: " in data["result"]
    assert data["emprops_req_payload"]["payload"]["prompt"] == "a fox"
    assert attestation.is_intact
    job.refresh_from_db()
    assert job.result == "done. " * 200_000


def test_a_shortened_attestation_keeps_its_error(tenant: Tenant) -> None:
    job = make_job(tenant, status="running", payload={"log": "line " * 100_000})
    error = make_error("oom", "no memory " * 900)

    finish([Outcome(lease=Lease(job.pk, job.lease_token), status="failed", error=error)])

    assert Attestation.objects.get().attestation_data["error"] == error
