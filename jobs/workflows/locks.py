"""The one order in which rows of a workflow are locked: its jobs by id, then itself."""

from __future__ import annotations

from uuid import UUID

from jobs.models import Job, Workflow


def lock_with_steps(workflow_id: UUID) -> tuple[Workflow, list[Job]]:
    """Lock a workflow whose steps are to be changed; it, and all its steps in their order.

    Whoever ends the step at hand holds that one, then takes the workflow, then the steps after it. Ids are given
    in the order of the steps, so one who begins with the first step waits there, and holds nothing the other wants.
    """
    steps = list(Job.objects.filter(workflow=workflow_id).order_by("pk").select_for_update())
    workflow = Workflow.objects.select_for_update().get(pk=workflow_id)
    return workflow, sorted(steps, key=lambda step: step.step_index or 0)
