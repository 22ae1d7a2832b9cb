"""What the tests of this floor share."""

from __future__ import annotations

import pytest

from webhooks.services import receipts


@pytest.fixture(autouse=True)
def _every_refusal_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of one second are refused more often than a process may store in it."""
    monkeypatch.setattr(receipts, "_allowance", receipts.Allowance(100_000))
