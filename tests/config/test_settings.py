"""The settings: all documented, wrong ones named by a check."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks

from config.checks import check_database

SETTINGS = django_settings.BASE_DIR / "config" / "settings.py"
READ = re.compile(r'env\.\w+\(\s*"([A-Z_]+)"')


def test_every_variable_is_in_the_example_file() -> None:
    example = (django_settings.BASE_DIR / ".env.example").read_text()

    read = set(READ.findall(SETTINGS.read_text()))

    listed = set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE))
    assert read == listed


@pytest.mark.parametrize(
    ("name", "value", "check_id"),
    [
        ("PUBLIC_URL", "jobs.example.com", "affidavit.E001"),
        ("PUBLIC_URL", "ftp://jobs.example.com", "affidavit.E001"),
        ("LEASE_SECONDS", 1, "affidavit.E003"),
        ("WORKER_RETRY_LIMIT", 0, "affidavit.E003"),
        ("JOB_TIMEOUT_SECONDS", 10**9, "affidavit.E003"),
        ("CLUSTER_WORKERS", 0, "affidavit.E003"),
        ("QUEUES", ["webhooks"], "affidavit.E004"),
        ("ENCRYPTION_KEYS", ["too short"], "affidavit.E005"),
        ("ENCRYPTION_KEYS", [], "affidavit.E005"),
        ("WEBHOOK_ALLOWED_NETWORKS", ["10.1.2.3/16"], "affidavit.E006"),
        ("WEBHOOK_ALLOWED_NETWORKS", ["example.com"], "affidavit.E006"),
        ("WEBHOOK_RETENTION_DAYS", 0, "affidavit.E003"),
    ],
)
def test_a_wrong_setting_is_named_with_a_hint(settings: Any, name: str, value: Any, check_id: str) -> None:
    setattr(settings, name, value)

    found = {message.id: message for message in run_checks()}

    assert check_id in found
    assert found[check_id].hint


def test_the_default_settings_pass() -> None:
    assert [message for message in run_checks() if message.id and message.id.startswith("affidavit")] == []


def test_a_database_elsewhere_is_asked_to_be_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(django_settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")

    assert [message.id for message in check_database()] == ["affidavit.E002"]
