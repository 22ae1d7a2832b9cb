"""Who may call what: keys, scopes, tenants. What is refused leaves no row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.urls import URLPattern, get_resolver
from django.utils import timezone

from attestations.models import Submission
from jobs.api.permissions import HasScope
from jobs.api.streams import HasKey, MayWatch
from jobs.models import ApiKey, Job, Tenant, Workflow
from tests.conftest import ApiClient
from tests.factories import make_collection, make_job, make_key, make_submission, make_workflow

JOB = {"service_required": "gpu", "payload": {"n": 1}}


def assert_problem(response: object, status: int, code: str) -> dict[str, object]:
    """Every error has one shape."""
    assert response.status_code == status  # type: ignore[attr-defined]
    assert response["Content-Type"] == "application/problem+json"  # type: ignore[index]
    body: dict[str, object] = response.json()  # type: ignore[attr-defined]
    assert body.keys() == {"type", "title", "status", "code", "detail", "trace_id", "errors"}
    assert (body["status"], body["code"]) == (status, code)
    assert body["trace_id"] == response["X-Trace-Id"]  # type: ignore[index]
    return body


def test_without_a_key_401(db: None) -> None:
    response = ApiClient().send("post", "/api/jobs", JOB)

    assert_problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert not Job.objects.exists()


@pytest.mark.parametrize("text", ["nonsense", "afd_", "afd_00000000_" + "x" * 43 + "_000000", "é" * 63])
def test_with_no_real_key_401(db: None, text: str) -> None:
    response = ApiClient(text).send("post", "/api/jobs", JOB)

    assert_problem(response, 401, "invalid_api_key")


def test_a_key_with_one_wrong_character_is_refused(tenant: Tenant) -> None:
    _, text = make_key(tenant)
    swapped = text[:20] + ("x" if text[20] != "x" else "y") + text[21:]

    assert_problem(ApiClient(swapped).send("get", "/api/jobs"), 401, "invalid_api_key")


def test_revoked_expired_and_inactive_keys_are_refused(tenant: Tenant) -> None:
    past = timezone.now() - timedelta(seconds=1)
    expired = make_key(tenant, expires_at=past)[1]
    revoked_key, revoked = make_key(tenant)
    ApiKey.objects.filter(pk=revoked_key.pk).update(revoked_at=past)
    live = make_key(tenant)[1]

    for text in (expired, revoked):
        assert_problem(ApiClient(text).send("get", "/api/jobs"), 401, "invalid_api_key")
    assert ApiClient(live).send("get", "/api/jobs").status_code == 200
    Tenant.objects.filter(pk=tenant.pk).update(is_active=False)
    assert_problem(ApiClient(live).send("get", "/api/jobs"), 401, "invalid_api_key")


def test_a_key_is_stored_as_a_digest_and_its_use_is_noted(tenant: Tenant) -> None:
    key, text = make_key(tenant)

    ApiClient(text).send("get", "/api/jobs")

    key.refresh_from_db()
    assert text not in str(vars(key))
    assert key.last_used_at is not None
    noted = key.last_used_at
    ApiClient(text).send("get", "/api/jobs")
    key.refresh_from_db()
    assert key.last_used_at == noted


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("post", "/api/jobs", "submit"),
        ("get", "/api/jobs", "read"),
        ("post", "/api/jobs/bulk", "submit"),
        ("post", "/api/jobs/enqueue", "submit"),
        ("get", "/api/jobs/{job}", "read"),
        ("post", "/api/jobs/{job}/cancel", "manage"),
        ("post", "/api/jobs/{job}/retry", "manage"),
        ("post", "/api/workers/claim", "work"),
        ("post", "/api/jobs/complete", "work"),
        ("post", "/api/jobs/{job}/heartbeat", "work"),
        ("post", "/api/jobs/{job}/progress", "work"),
        ("post", "/api/jobs/{job}/log", "work"),
        ("post", "/api/jobs/{job}/complete", "work"),
        ("post", "/api/jobs/{job}/fail", "work"),
        ("put", "/api/jobs/{job}/artifacts/a.png", "work"),
        ("get", "/api/collections", "read"),
        ("post", "/api/collections", "manage"),
        ("get", "/api/collections/{collection}", "read"),
        ("put", "/api/collections/{collection}", "manage"),
        ("patch", "/api/collections/{collection}", "manage"),
        ("delete", "/api/collections/{collection}", "manage"),
        ("post", "/collections/{collection}/generations", "submit"),
        ("get", "/api/workflows", "read"),
        ("get", "/api/workflows/{workflow}", "read"),
        ("get", "/api/jobs/{job}/events", "read"),
        ("get", "/api/workflows/{workflow}/events", "read"),
        ("get", "/api/workflows/{workflow}/all-attestations", "read"),
        ("post", "/api/workflows/{workflow}/retry", "manage"),
        ("post", "/api/workflows/{workflow}/cancel", "manage"),
        ("post", "/api/workflows/{workflow}/renotify", "manage"),
        ("post", "/api/jobs/{job}/renotify", "manage"),
        ("get", "/api/submissions", "read"),
        ("post", "/api/submissions", "submit"),
        ("get", "/api/submissions/{submission}", "read"),
        ("post", "/api/submissions/{submission}/approve", "manage"),
        ("post", "/api/submissions/{submission}/reject", "manage"),
        ("post", "/api/submissions/{submission}/publish", "manage"),
    ],
)
def test_a_key_of_another_scope_403(
    tenant: Tenant, api_as: Callable[..., ApiClient], method: str, path: str, needed: str
) -> None:
    job = make_job(tenant, service_required="gpu")
    address = path.format(
        job=job.pk,
        collection=make_collection(tenant).pk,
        workflow=make_workflow(tenant).workflow_id,
        submission=make_submission(tenant).pk,
    )
    others = [scope for scope in ("submit", "work", "read", "manage") if scope != needed]
    before = [model.objects.count() for model in (Job, Workflow, Submission)]

    response = api_as(tenant, *others).send(method, address, {})

    assert_problem(response, 403, "scope_missing")
    assert [model.objects.count() for model in (Job, Workflow, Submission)] == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/api/jobs/{job}"),
        ("post", "/api/jobs/{job}/cancel"),
        ("post", "/api/jobs/{job}/retry"),
        ("post", "/api/jobs/{job}/heartbeat"),
        ("post", "/api/jobs/{job}/complete"),
        ("get", "/api/collections/{collection}"),
        ("delete", "/api/collections/{collection}"),
        ("post", "/collections/{collection}/generations"),
        ("get", "/api/workflows/{workflow}"),
        ("get", "/api/jobs/{job}/events"),
        ("get", "/api/workflows/{workflow}/events"),
        ("get", "/api/workflows/{workflow}/all-attestations"),
        ("post", "/api/workflows/{workflow}/retry"),
        ("post", "/api/workflows/{workflow}/cancel"),
        ("post", "/api/workflows/{workflow}/renotify"),
        ("post", "/api/jobs/{job}/renotify"),
        ("get", "/api/submissions/{submission}"),
        ("post", "/api/submissions/{submission}/approve"),
        ("post", "/api/submissions/{submission}/reject"),
        ("post", "/api/submissions/{submission}/publish"),
    ],
)
def test_another_tenants_things_404(api: ApiClient, other_tenant: Tenant, method: str, path: str) -> None:
    job = make_job(other_tenant, service_required="gpu")
    address = path.format(
        job=job.pk,
        collection=make_collection(other_tenant).pk,
        workflow=make_workflow(other_tenant).workflow_id,
        submission=make_submission(other_tenant).pk,
    )
    body = {"lease_token": "0" * 8 + "-0000-0000-0000-" + "0" * 12} if "job" in path else {"variables": {}}
    if path.endswith(("cancel", "retry", "renotify", "approve", "publish")):
        body = {}
    if path.endswith("reject"):
        body = {"reason": "A copy."}

    assert_problem(api.send(method, address, body), 404, "not_found")


@pytest.mark.parametrize(
    "verb", ["jobs/{}/cancel", "jobs/{}/renotify", "jobs/{}/heartbeat", "collections/{}/generations"]
)
def test_an_id_that_is_no_uuid_404(api: ApiClient, verb: str) -> None:
    for text in ("-" * 36, "0" * 36, "0" * 32):
        assert_problem(api.send("post", f"/api/{verb.format(text)}", {}), 404, "not_found")


@pytest.mark.parametrize("verb", ["retry", "cancel", "renotify"])
@pytest.mark.parametrize("name", ["nobody-knows-it", "-odd", "a%20b", "x" * 201, "a%00", "%F0%9F%8E%A8"])
def test_a_workflow_of_an_odd_name_404(api: ApiClient, verb: str, name: str) -> None:
    assert_problem(api.send("post", f"/api/workflows/{name}/{verb}", {}), 404, "not_found")


@pytest.mark.parametrize("verb", ["retry", "cancel", "renotify"])
def test_a_field_that_a_verb_does_not_know_422(api: ApiClient, tenant: Tenant, verb: str) -> None:
    workflow = make_workflow(tenant)

    response = api.send("post", f"/api/workflows/{workflow.workflow_id}/{verb}", {"reasons": "none"})

    assert_problem(response, 422, "invalid")
    assert response.json()["errors"][0]["code"] == "unknown_field"


def test_lists_show_only_the_tenants_own(api: ApiClient, tenant: Tenant, other_tenant: Tenant) -> None:
    mine, theirs = make_job(tenant), make_job(other_tenant)
    make_job(None)

    ids = [job["id"] for job in api.send("get", "/api/jobs").json()["results"]]

    assert ids == [str(mine.pk)]
    assert str(theirs.pk) not in ids


def test_every_api_view_names_its_scopes() -> None:
    """Default deny: a view without scopes is refused, so each must name one per method it has."""
    views = [
        pattern.callback.view_class for pattern in api_patterns() if hasattr(pattern.callback, "view_class")
    ]
    ours = [view for view in views if view.__module__.startswith(("jobs.", "attestations.", "webhooks."))]

    assert len(ours) > 15
    for view in ours:
        methods = {name.upper() for name in ("get", "post", "put", "patch", "delete") if hasattr(view, name)}
        assert view.scopes.keys() == methods, view
        assert view.permission_classes in ([HasScope], [MayWatch], [HasKey]), view


def api_patterns() -> list[URLPattern]:
    found: list[URLPattern] = []
    for part in get_resolver().url_patterns:
        found += [p for p in getattr(part, "url_patterns", []) if isinstance(p, URLPattern)]
    return found
