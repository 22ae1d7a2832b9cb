"""Lists over REST: filters and cursors that nothing can be compared with are refused."""

from __future__ import annotations

from base64 import b64encode

import pytest
from django.core.exceptions import ValidationError
from django.db import DataError

from jobs.api.errors import problem_response
from jobs.models import Tenant
from tests.conftest import ApiClient
from tests.factories import make_collection, make_job, make_workflow
from tests.jobs.test_api_access import assert_problem

LISTS = ["/api/jobs", "/api/workflows", "/api/collections"]


@pytest.mark.parametrize(
    ("path", "pointers"),
    [
        ("/api/jobs?status=%00", ["/status"]),
        ("/api/jobs?kind=a&queue=%00&actor_id=b%00", ["/queue", "/actor_id"]),
        ("/api/workflows?user_id=%00", ["/user_id"]),
        ("/api/workflows?collection_id=abc", ["/collection_id"]),
        ("/api/workflows?collection_id=%00", ["/collection_id"]),
        ("/api/workflows?collection_id=", ["/collection_id"]),
    ],
)
def test_a_filter_that_nothing_is_compared_with_is_422(
    api: ApiClient, tenant: Tenant, path: str, pointers: list[str]
) -> None:
    make_workflow(tenant)
    make_job(tenant)

    problem = assert_problem(api.send("get", path), 422, "invalid")

    assert [error["pointer"] for error in problem["errors"]] == pointers  # type: ignore[attr-defined]


def test_workflows_are_filtered(api: ApiClient, tenant: Tenant) -> None:
    collection = make_collection(tenant)
    mine = make_workflow(tenant, collection=collection, user_id="ann")
    make_workflow(tenant, user_id="ann")

    answer = api.send("get", f"/api/workflows?collection_id={collection.pk}&user_id=ann").json()

    assert [workflow["workflow_id"] for workflow in answer["results"]] == [mine.workflow_id]
    assert api.send("get", "/api/workflows?status=nonsense").json()["results"] == []


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("cursor", [b"p=abc", b"p=%00", b"p=", b"r=1&p=abc", b"r=x"])
def test_a_cursor_that_leads_nowhere_is_404(api: ApiClient, path: str, cursor: bytes) -> None:
    assert_problem(api.get(path, {"cursor": b64encode(cursor).decode()}), 404, "not_found")


@pytest.mark.parametrize("error", [ValidationError("no UUID"), DataError("a NUL")])
def test_what_no_check_foresaw_is_422_all_the_same(error: Exception) -> None:
    response = problem_response(error, {})

    assert response is not None
    assert (response.status_code, response.data["code"]) == (422, "invalid")  # type: ignore[index]
