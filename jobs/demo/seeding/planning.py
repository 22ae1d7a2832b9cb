"""Lays out over time what is asked for: batch by batch, the oldest first, with the rhythm of days. Pure."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random

from jobs.demo.seeding import catalogue
from jobs.demo.seeding.batches import Batch, Plan
from jobs.demo.seeding.stories import JobStory, Teller, load_at

BATCH_JOBS = 5_000
STEP = timedelta(minutes=10)


def batch_count(plan: Plan) -> int:
    return max(1, -(-plan.jobs // BATCH_JOBS))


def make_batch(plan: Plan, number: int) -> Batch:
    """The `number`-th batch (from 0): the same for the same plan, whoever else makes others."""
    batch = Batch(plan, Random(f"{plan.seed}:{number}"))  # noqa: S311  nothing secret
    first, last = number * BATCH_JOBS, min((number + 1) * BATCH_JOBS, plan.jobs)
    calendar = _Calendar(plan)
    teller = Teller(
        batch.rng, plan.now, [[str(key) for key in tenant.collections] for tenant in plan.tenants]
    )
    done = 0
    while done < last - first:
        at = calendar.moment_of((first + done + batch.rng.random()) / plan.jobs)
        story = teller.tell(_tenant_of(plan, batch.rng), at)
        jobs = [story] if isinstance(story, JobStory) else story.jobs
        if done + len(jobs) > last - first:
            continue  # too large for what is left of the batch
        batch.jobs += jobs
        if not isinstance(story, JobStory):
            batch.workflows.append(story)
        done += len(jobs)
    return batch


def _tenant_of(plan: Plan, rng: Random) -> int:
    weights = [weight for *_, weight in catalogue.TENANTS] + [1] * len(plan.tenants)
    return rng.choices(range(len(plan.tenants)), weights[: len(plan.tenants)])[0]


class _Calendar:
    """When things are asked for: in the evening more than at night."""

    def __init__(self, plan: Plan) -> None:
        self._start = plan.now - timedelta(days=plan.days)
        # The newest are a moment old: what they wait for has come.
        self._end = plan.now - timedelta(seconds=20)
        steps = max(1, int((self._end - self._start) / STEP))
        self._step = (self._end - self._start) / steps
        self._sums = list(
            accumulate(0.35 + load_at(self._start + step * self._step) for step in range(steps))
        )

    def moment_of(self, share: float) -> datetime:
        """The moment up to which this share (0 to 1) of all was asked for."""
        place = min(share, 0.999999999) * self._sums[-1]
        step = bisect_right(self._sums, place)
        before = self._sums[step - 1] if step else 0.0
        return self._start + (step + (place - before) / (self._sums[step] - before)) * self._step
