"""What may be in a log, and what not."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from config.logging import JsonFormatter
from tests.conftest import ApiClient


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """Everything that is logged, as it is written."""

    def written() -> list[dict[str, Any]]:
        return [json.loads(JsonFormatter().format(record)) for record in caplog.records]

    caplog.set_level(logging.DEBUG)
    return written


def test_no_line_holds_a_stream_token(api: ApiClient, lines: Any) -> None:
    token = api.send("POST", "/api/stream-tokens", {}).json()["token"]

    answer = ApiClient().get("/api/workflows/nope/events", {"token": token})

    assert answer.status_code == 404
    warned = [line for line in lines() if line["logger"] == "django.request"]
    assert [line["msg"] for line in warned] == ["Not Found: /api/workflows/nope/events"]
    assert token not in json.dumps(lines())
