"""What browsers are told they may do with our answers."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse

from config.policies import NOTHING, policy_of
from tests.factories import make_superuser

pytestmark = pytest.mark.django_db


def test_pages_of_the_monitor_load_from_the_platform_alone(client: Client) -> None:
    client.force_login(make_superuser())

    response = client.get(reverse("admin:index"))

    directives = dict(each.split(" ", 1) for each in response["Content-Security-Policy"].split("; "))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self' 'unsafe-eval'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "object-src": "'none'",
        "frame-ancestors": "'none'",
    }
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in response["Permissions-Policy"]


@pytest.mark.parametrize("path", ["/api/jobs", "/healthz", "/nowhere", "/api/schema", "/administration"])
def test_what_is_no_page_may_do_nothing(client: Client, path: str) -> None:
    assert client.get(path)["Content-Security-Policy"] == NOTHING


def test_a_login_and_a_refusal_are_pages_too(client: Client) -> None:
    for path in ("/admin/login/", "/admin/nowhere/", "/admin"):
        assert client.get(path)["Content-Security-Policy"] == policy_of("/admin/"), path


def test_the_documentation_of_the_api_runs_no_script_that_stands_in_it(client: Client) -> None:
    response = client.get("/api/docs")

    assert "<script>" not in response.content.decode()
    assert "unsafe-eval" not in response["Content-Security-Policy"]
    assert client.get("/api/docs", {"script": ""})["Content-Type"].startswith("application/javascript")


def test_an_artifact_keeps_its_sandbox(client: Client) -> None:
    path = default_storage.save("acme/job/secret/page.txt", ContentFile(b"hello"))

    response = client.get(f"{settings.MEDIA_URL}{path}")

    assert b"".join(response) == b"hello"
    response.close()
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
