"""What the sanitizer takes out, and what it leaves alone."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import random
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jobs.hygiene.base64_runs import MIN_CHARS
from jobs.hygiene.base64_text import is_text
from jobs.hygiene.sanitizer import sanitize_base64

PNG = b"\x89PNG\r\n\x1a\n"
MIN_BYTES = MIN_CHARS * 3 // 4
SAMPLED = settings(max_examples=60, derandomize=True, deadline=None)


def marker_of(content: bytes, content_type: str = "application/octet-stream") -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"$removed": "base64", "bytes": len(content), "sha256": digest, "content_type": content_type}


def words_of(content: bytes, content_type: str = "application/octet-stream") -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"[removed base64: {len(content)} bytes, {content_type}, sha256 {digest}]"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def wrapped(text: str, width: int, end: str = "\n") -> str:
    return end.join(text[at : at + width] for at in range(0, len(text), width))


# How base64 of MIN_CHARS and more is written.
WRITTEN: dict[str, Callable[[bytes], str]] = {
    "standard": encoded,
    "url-safe": lambda content: base64.urlsafe_b64encode(content).decode(),
    "without padding": lambda content: encoded(content).rstrip("="),
    "url-safe without padding": lambda content: base64.urlsafe_b64encode(content).decode().rstrip("="),
    "MIME": lambda content: base64.encodebytes(content).decode(),
    "MIME with CRLF": lambda content: wrapped(encoded(content), 76, "\r\n"),
    "PEM": lambda content: wrapped(encoded(content), 64),
    "wrapped in a JSON text": lambda content: wrapped(encoded(content), 76, "\\n"),
    "with escaped slashes": lambda content: encoded(content).replace("/", "\\/") + " ",
    "data URI": lambda content: f"data:image/x-unknown;base64,{encoded(content)}",
}


@pytest.mark.parametrize("way", ["standard", "url-safe", "without padding", "MIME", "MIME with CRLF", "PEM"])
@pytest.mark.parametrize("size", [MIN_BYTES + 1, MIN_BYTES + 2, MIN_BYTES + 3, 5_000, 100_001])
def test_a_string_that_is_base64_becomes_its_size_and_digest(way: str, size: int) -> None:
    content = noise(size)

    assert sanitize_base64(WRITTEN[way](content)) == marker_of(content)


def test_a_signature_proves_the_content_type_whatever_is_declared() -> None:
    content = PNG + noise(100)

    assert sanitize_base64(f"data:text/plain;base64,{encoded(content)}") == marker_of(content, "image/png")


def test_a_data_uri_declares_what_no_signature_proves() -> None:
    content = b"<svg xmlns='http://www.w3.org/2000/svg'>" * 3

    found = sanitize_base64(f"DATA:image/svg+xml;charset=utf-8;base64,{encoded(content)}")

    assert found == marker_of(content, "image/svg+xml")


@pytest.mark.parametrize("size", [48, 50, 300])
def test_a_small_file_is_known_by_its_signature(size: int) -> None:
    content = PNG + noise(size - len(PNG))

    assert sanitize_base64([encoded(content)]) == [marker_of(content, "image/png")]


def test_two_bytes_are_no_signature() -> None:
    text = encoded(b"\xff\xfb" + noise(298))

    assert sanitize_base64(text) is text


@pytest.mark.parametrize(("chars", "is_removed"), [(63, False), (64, True)])
def test_a_data_uri_counts_from_64_characters_on(chars: int, is_removed: bool) -> None:
    text = "data:image/gif;base64," + encoded(noise(48))[:chars]

    assert (sanitize_base64(text) is not text) == is_removed


@pytest.mark.parametrize(("chars", "is_removed"), [(MIN_CHARS - 1, False), (MIN_CHARS, True)])
def test_a_bare_run_counts_from_1024_characters_on(chars: int, is_removed: bool) -> None:
    text = f"out: {encoded(noise(2_000))[:chars]} end"

    assert (sanitize_base64(text) is not text) == is_removed


def test_what_is_around_it_stays() -> None:
    small, large = PNG + noise(60), noise(3_000)
    html = f'<img src="data:image/png;base64,{encoded(small)}" alt="a fox">\n{encoded(large)}\nbye'

    assert (
        sanitize_base64(html)
        == f'<img src="{words_of(small, "image/png")}" alt="a fox">\n{words_of(large)}\nbye'
    )


def test_a_json_document_in_a_string_stays_one() -> None:
    content = noise(2_000)
    document = {"a": [encoded(content), "data:image/png;base64," + encoded(content)], "b": "text"}

    found = json.loads(sanitize_base64(json.dumps(document)))

    assert found == {"a": [words_of(content), words_of(content, "image/png")], "b": "text"}


def test_a_key_is_told_in_words() -> None:
    content = noise(2_000)

    assert sanitize_base64({encoded(content): {"x": 1}}) == {words_of(content): {"x": 1}}


def test_of_base64_that_was_cut_off_what_is_whole_is_counted() -> None:
    content = noise(3_000)

    found = sanitize_base64(encoded(content)[:2_001])

    assert found == marker_of(content[:1_500])


def test_a_certificate_loses_its_body_and_keeps_its_lines() -> None:
    content = noise(1_500)

    found = sanitize_base64(
        f"-----BEGIN CERTIFICATE-----\n{wrapped(encoded(content), 64)}\n-----END CERTIFICATE-----\n"
    )

    assert found == f"-----BEGIN CERTIFICATE-----\n{words_of(content)}\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("byte", [0x00, 0xFF, 0x41])
def test_monotonous_bytes_are_base64_all_the_same(byte: int) -> None:
    content = bytes([byte]) * 3_000

    assert sanitize_base64({"a": encoded(content)}) == {"a": marker_of(content)}


def test_the_argument_is_not_changed() -> None:
    value = {"a": [encoded(noise(2_000)), {"b": (1, encoded(noise(3_000)))}]}
    before = copy.deepcopy(value)

    sanitize_base64(value)

    assert value == before


def test_depth_is_no_limit() -> None:
    value: Any = encoded(noise(1_000))
    for _ in range(10_000):
        value = {"a": [value]}

    found = sanitize_base64(value)

    for _ in range(10_000):
        found = found["a"][0]
    assert found == marker_of(noise(1_000))


@SAMPLED
@given(
    content=st.one_of(
        st.binary(min_size=MIN_BYTES + 2, max_size=3_000),
        st.builds(noise, st.integers(MIN_BYTES + 2, 20_000), st.integers()),
        st.builds(
            lambda part, times: part * times, st.binary(min_size=50, max_size=100), st.integers(40, 60)
        ),
    ),
    way=st.sampled_from(sorted(WRITTEN)),
    before=st.text(max_size=2_000),
    after=st.text(max_size=2_000),
)
def test_nothing_above_the_threshold_survives(content: bytes, way: str, before: str, after: str) -> None:
    written = WRITTEN[way](content)
    assume(
        way == "data URI" or not is_text(re.sub(r"\\n|[\s=\\]", "", written))
    )  # as a drawing of underscores

    found = sanitize_base64([{"x": written}, f"{before} <{written}> {after}"])

    assert isinstance(found[0]["x"], dict) or way == "with escaped slashes"
    for text in (json.dumps(found[0]), found[1]):
        assert longest_part(written, text) < MIN_CHARS
    assert found[1].startswith(f"{before} <")
    assert found[1].endswith(f"> {after}")


def longest_part(written: str, text: str) -> int:
    """The longest run of base64's characters that is left of what was written."""
    runs = re.findall(r"[A-Za-z0-9+/_-]{64,}", text)
    return max((len(run) for run in runs if run in written), default=0)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=100)
    | st.builds(lambda seed: encoded(noise(900, seed)), st.integers(0, 5))
    | st.builds(lambda seed: f"data:image/png;base64,{encoded(noise(60, seed))}", st.integers(0, 5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=20,
)


def shape(value: Any) -> Any:
    """A value with its payloads and their markers taken for the same."""
    if isinstance(value, dict) and "$removed" not in value:
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    is_payload = isinstance(value, dict) or (isinstance(value, str) and len(value) > 100)
    return "removed" if is_payload else value


@SAMPLED
@given(value=JSON_VALUES)
def test_structure_is_kept(value: Any) -> None:
    assert shape(sanitize_base64(value)) == shape(value)


@SAMPLED
@given(value=JSON_VALUES, around=st.text(max_size=50))
def test_a_second_time_changes_nothing(value: Any, around: str) -> None:
    once = sanitize_base64([value, f"{around}{json.dumps(value)}{around}", around + encoded(noise(2_000))])

    assert sanitize_base64(once) is once


B64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
tokens = st.builds(
    lambda n, seed: "".join(random.Random(seed).choices(B64URL, k=n)), st.integers(10, 5_000), st.integers()
)
hashes = st.builds(lambda seed: noise(32, seed).hex(), st.integers())
jwts = st.builds(lambda *parts: "eyJ" + ".".join(parts), tokens, tokens, tokens)
jwes = st.builds(lambda *parts: "eyJ" + ".".join(parts), tokens, tokens, tokens, tokens, tokens)
words = st.sampled_from(
    ["the", "quick", "Brown", "fox", "jumps", "over", "lazy", "dogs", "and", "Renders", "4096", "pictures"]
)
names = st.sampled_from(["usr", "share", "Pictures", "renders", "2026", "Tenant", "v1", "artifacts", "data"])

# Everything that is as long as base64 and written with its letters.
NOT_BASE64: dict[str, st.SearchStrategy[str]] = {
    "prose": st.lists(words, min_size=300, max_size=900).map(" ".join),
    "words without spaces": st.lists(words, min_size=400, max_size=900).map(
        lambda parts: "".join(parts).lower()
    ),
    "words written together": st.lists(words, min_size=300, max_size=900).map("".join),
    "drawn lines": st.builds(
        lambda sign, n: sign * n, st.sampled_from(["-_", "--_", "+/"]), st.integers(600, 2_000)
    ),
    "one word per line": st.lists(words, min_size=300, max_size=900).map("\n".join),
    "any text": st.text(max_size=3_000),
    "hex": st.builds(lambda n, seed: noise(n, seed).hex(), st.integers(40, 3_000), st.integers()),
    "hex in capitals": st.builds(
        lambda n, seed: noise(n, seed).hex().upper(), st.integers(40, 3_000), st.integers()
    ),
    "bytecode": st.builds(
        lambda n, seed: "0x6080604052" + noise(n, seed).hex() + "00" * n,
        st.integers(300, 2_000),
        st.integers(),
    ),
    "hex of one byte": st.builds(
        lambda byte, n: f"{byte:02x}" * n, st.integers(0, 255), st.integers(600, 2_000)
    ),
    "digits": st.builds(
        lambda n, seed: str(random.Random(seed).getrandbits(n)), st.integers(4_000, 9_000), st.integers()
    ),
    "hashes of 64 characters": hashes,
    "hashes, one per line": st.lists(hashes, min_size=20, max_size=60).map("\n".join),
    "hashes with 0x": st.lists(hashes.map(lambda text: f"0x{text}"), min_size=20, max_size=60).map("\n".join),
    "UUIDs": st.lists(
        st.builds(lambda n: str(uuid.UUID(int=n)), st.integers(0, 2**128 - 1)), min_size=40
    ).map("\n".join),
    "UUIDs in a row": st.lists(st.uuids().map(str), min_size=40, max_size=60).map("_".join),
    "JWTs": jwts,
    "a JWT in a header": jwts.map(lambda text: f"Authorization: Bearer {text}\n"),
    "JWEs": jwes,
    "URLs": st.builds(lambda host, token: f"https://{host}.example/a/{token}?x=1", st.uuids(), tokens),
    "presigned URLs": st.builds(
        lambda one, two: (
            f"see https://s3.example/b/k.png?X-Amz-Security-Token={one}&X-Amz-Signature={two} now"
        ),
        tokens,
        tokens,
    ),
    "paths": st.lists(names, min_size=200, max_size=400).map(lambda parts: "/" + "/".join(parts)),
    "one character": st.builds(
        lambda sign, n: sign * n, st.sampled_from("xQzb0-_=.# "), st.integers(1_000, 5_000)
    ),
    "proteins": st.builds(
        lambda n, seed: "".join(random.Random(seed).choices("ACDEFGHIKLMNPQRSTVWY", k=n)),
        st.integers(1_000, 5_000),
        st.integers(),
    ),
    "DNA": st.builds(
        lambda n, seed: "".join(random.Random(seed).choices("ACGT", k=n)),
        st.integers(1_000, 5_000),
        st.integers(),
    ),
    "base32": st.builds(
        lambda n, seed: base64.b32encode(noise(n * 5, seed)).decode(), st.integers(130, 500), st.integers()
    ),
    "slugs": st.lists(words, min_size=200, max_size=400).map(lambda parts: "-".join(parts).lower()),
    "tables": st.builds(lambda n: "\n".join(["+---" * n + "+", "| a " * n + "|"] * 3), st.integers(10, 500)),
}


@pytest.mark.parametrize("family", sorted(NOT_BASE64))
def test_what_is_not_base64_is_not_touched(family: str) -> None:
    @settings(max_examples=20, derandomize=True, deadline=None)
    @given(text=NOT_BASE64[family])
    def untouched(text: str) -> None:
        value = {"a": [text, {"b": text}], text: f"before {text} after"}
        assert sanitize_base64(value) is value

    untouched()


def test_every_place_of_a_long_text_is_looked_at() -> None:
    content = noise(MIN_BYTES)
    for offset in (*range(0, 3 * MIN_CHARS, 37), MIN_CHARS - 1, MIN_CHARS, MIN_CHARS + 1):
        before = " " * offset + "|"

        assert sanitize_base64(f"{before}{encoded(content)}|") == f"{before}{words_of(content)}|"
