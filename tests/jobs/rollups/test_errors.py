"""Normalised messages: what varies between two errors of one cause is taken out, and nothing else."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.rollups.errors import MESSAGE_MAX_CHARS, fingerprint_of, normalise

PIECES = [
    "'", '"', "`", "“", "”", "/", "\\", ":", "::", "@", "-", ".", ",", "<", ">", " ", "\n", "\0", "0x", "x", "T", "…",
    "<n>", "<text>", "<url host>", "17", "3f2a9c1d8e7b", "https://", "a.example", "2026-11-22", "10:11:12", "10.0.0.1",
    "fe80::1", "/srv/a", "C:\\a", "é", "\ud800", "0190b7c2-1111-7222-8333-444455556666",
]  # fmt: skip
TEXTS = st.text() | st.lists(st.sampled_from(PIECES), max_size=400).map("".join)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("The attempt ran longer than 300 s.", "The attempt ran longer than <n> s."),
        ("Took -1.5e and 1,024.5 of 7%", "Took <n>e and <n> of <n>%"),
        ("no job 0190b7c2-1111-7222-8333-444455556666 here", "no job <uuid> here"),
        ("digest 3f2a9c1d8e7b is gone", "digest <hex> is gone"),
        ("at 0x7f12ab", "at <hex>"),
        ("key afd_ab12cd34_Zk3x9QwErTy is no key", "key <id> is no key"),
        ("GET https://cdn.example.com/a/1.png?t=2 failed", "GET <url cdn.example.com> failed"),
        ("to http://bob:pw1@cdn.example.com", "to <url cdn.example.com>"),
        ("KeyError: 'prompt'", "KeyError: <text>"),
        ('unexpected "width" in `step one`', "unexpected <text> in <text>"),
        ("can't and won't", "can't and won't"),
        ("No such file: /srv/data/12/out.png", "No such file: <path>"),
        ("No such file: C:\\data\\out.png", "No such file: <path>"),
        ("either/or stays", "either/or stays"),
        ("host 10.0.0.1:5432 refused", "host <ip> refused"),
        ("host fe80::1:2:3 refused", "host <ip> refused"),
        ("since 2026-11-22T10:00:00.123Z", "since <time>"),
        ("at 10:11:12.5 it broke", "at <time> it broke"),
        ("user bob.b@example.com is unknown", "user <email> is unknown"),
        ("worker comfyui-gpu0 stopped", "worker comfyui-gpu<n> stopped"),
        ("two\n  lines\tof it", "two lines of it"),
        ("", ""),
    ],
)
def test_what_varies_becomes_a_placeholder(message: str, expected: str) -> None:
    assert normalise(message) == expected


def test_errors_that_differ_in_words_stay_apart() -> None:
    assert normalise("No room on the disk.") != normalise("No room in the queue.")


@given(TEXTS)
def test_any_text_has_a_short_normal_form_that_is_its_own(message: str) -> None:
    once = normalise(message)

    assert normalise(once) == once
    assert len(once) <= MESSAGE_MAX_CHARS
    assert "\0" not in once
    once.encode()


@pytest.mark.parametrize("piece", ["a-", "1", "'a ", "a.", "/a", "0:", "a@", "a://", "0x0.", "ab12"])
def test_a_long_text_is_no_work(piece: str) -> None:
    # A pattern that backtracks over all of it would take minutes.
    assert len(normalise(piece * 500_000)) <= MESSAGE_MAX_CHARS


def test_a_fingerprint_tells_tenants_kinds_and_codes_apart() -> None:
    tenant = uuid4()
    same = [fingerprint_of(tenant, "artgen", "broken", f"No room for {n} files.") for n in (1, 22)]
    others = [
        fingerprint_of(None, "artgen", "broken", "No room for 1 files."),
        fingerprint_of(tenant, "upscale", "broken", "No room for 1 files."),
        fingerprint_of(tenant, "artgen", "full", "No room for 1 files."),
        fingerprint_of(tenant, "artgen", "broken", "No place for 1 files."),
    ]

    assert same[0] == same[1]
    assert len({same[0], *others}) == 5


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    expected = UUID("3b54064e-a7b9-fe95-0ee0-a9b7927b559a")

    assert fingerprint_of(None, "system.ping", "broken", "It broke 7 times.") == expected
