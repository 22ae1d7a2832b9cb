"""One trace id from the request on."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from config.tracing import Trace, bound_trace, current_trace, trace_id_of, trace_of, traceparent_of


def trace_from(**headers: str) -> Trace:
    return trace_of(RequestFactory().get("/", headers=headers))


def test_the_callers_trace_is_taken_over() -> None:
    header = "00-" + "0af7651916cd43dd8448eb211c80319c" + "-" + "b7ad6b7169203331" + "-01"

    assert trace_from(traceparent=header).trace_id == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "header",
    ["", "nonsense", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-" + "AB" * 16 + "-" + "1" * 16 + "-01"],
)
def test_a_malformed_trace_is_made_anew(header: str) -> None:
    trace = trace_from(traceparent=header)

    assert len(trace.trace_id) == 32
    assert int(trace.trace_id, 16) > 0
    assert trace.trace_id not in header


def test_a_trace_can_be_handed_on() -> None:
    assert trace_id_of(traceparent_of("ab" * 16)) == "ab" * 16


@pytest.mark.parametrize("header", ["", "has space", "x" * 129, "line\nbreak"])
def test_a_request_id_that_is_unfit_for_logs_is_made_anew(header: str) -> None:
    request_id = trace_from(**{"X-Request-Id": header}).request_id

    assert request_id
    assert request_id != header


def test_what_is_bound_ends_with_its_block() -> None:
    with bound_trace(Trace("a" * 32, "r")):
        assert current_trace() == Trace("a" * 32, "r")

    assert current_trace().trace_id != "a" * 32
