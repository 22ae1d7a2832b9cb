"""The transition tables speak of every status, and of no other."""

from __future__ import annotations

import pytest

from jobs.models import Job, Workflow


@pytest.mark.parametrize("model", [Job, Workflow])
def test_every_status_has_its_transitions(model: type[Job] | type[Workflow]) -> None:
    assert set(model.TRANSITIONS) == set(model.Status)
    assert set().union(*model.TRANSITIONS.values()) <= set(model.Status)
