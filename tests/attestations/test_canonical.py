"""Canonical JSON: the same value, the same bytes, also after a stay in jsonb."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attestations.canonical import canonical_json, digest_of

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(-1e300, 1e300) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "ü"]}, '{"a":[true,null,"ü"],"b":1}'),
        (1.0, "1"),
        (-0.0, "0"),
        (1e300, "1" + "0" * 300),
        (0.1, "0.1"),
        (1e-7, "1e-07"),
        ("1.0", '"1.0"'),
    ],
)
def test_one_spelling_per_value(value: Any, text: str) -> None:
    assert canonical_json(value) == text.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


def test_any_change_shows_in_the_digest() -> None:
    assert digest_of({"a": 1}) == digest_of({"a": 1.0})
    assert len({digest_of(value) for value in ({"a": 1}, {"a": "1"}, {"a": [1]}, {"a": 2}, {"b": 1})}) == 5


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=VALUES)
def test_a_stay_in_jsonb_changes_nothing(db: None, value: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(value)])
        kept = json.loads(cursor.fetchone()[0])

    assert canonical_json(kept) == canonical_json(value)
