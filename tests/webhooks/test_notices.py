"""What a notice says: how it is read, and what else of it is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobs.models import Event, Tenant
from tests.webhooks.calls import NOTIFIED, RECEIPT_FIELDS, make_ended, notice_of, send
from webhooks.models import Receipt


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (1_767_225_600_000, "2026-01-01T00:00:00+00:00"),
        ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00+00:00"),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00"),
        (None, None),
    ],
)
def test_the_time_is_iso_8601_or_milliseconds(
    tenant: Tenant, secret: str, given: object, kept: str | None
) -> None:
    workflow = make_ended(tenant, completed_at=datetime(2026, 1, 1, tzinfo=UTC))

    send(NOTIFIED, notice_of(workflow, notified_at=given), secret)

    assert Event.objects.get().data["notified_at"] == kept


def test_what_else_a_notice_says_is_kept(tenant: Tenant, secret: str) -> None:
    workflow = make_ended(tenant)
    notice = notice_of(workflow, device={"model": "x"}, at=1.5)

    response = send(NOTIFIED, notice, secret)

    assert response.json().keys() == RECEIPT_FIELDS
    receipt = Receipt.objects.get(state="applied")
    assert receipt.body == notice
    assert (receipt.workflow_name, receipt.user_id) == (workflow.workflow_id, "user-1")
