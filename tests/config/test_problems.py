"""Errors outside the API's own views."""

from __future__ import annotations

import pytest
from django.test import Client

from config import problems
from tests.factories import make_superuser


def test_an_error_nobody_foresaw_is_a_problem_with_its_trace(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*args: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("jobs.api.health.JsonResponse", explode)
    client.raise_request_exception = False

    response = client.get("/healthz")

    assert response.status_code == 500
    assert response["Content-Type"] == problems.CONTENT_TYPE
    assert response.json()["trace_id"] == response["X-Trace-Id"]
    assert "boom" not in response.text


def test_in_the_admin_a_person_gets_a_page(client: Client) -> None:
    response = client.get("/admin/nothing/", follow=True)

    assert response["Content-Type"].startswith("text/html")


def test_the_monitor_refuses_in_words(client: Client, db: None) -> None:
    client.force_login(make_superuser())

    unknown = client.get("/admin/jobs/job/?attempt=2")
    absent = client.get("/admin/no/such/page/")

    assert (unknown.status_code, absent.status_code) == (400, 404)
    assert "attempt" in unknown.content.decode()
    assert "nothing at this address" in absent.content.decode()
