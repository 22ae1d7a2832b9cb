"""When a delivery is tried again. Pure."""

from __future__ import annotations

from jobs.queue.backoff import RetryPolicy

# The waits between the ten attempts that Standard Webhooks 1.0 proposes: 75 h 35 min in all.
SCHEDULE = RetryPolicy(
    delays=(5, 5 * 60, 30 * 60, *(hours * 3_600 for hours in (2, 5, 10, 14, 20, 24))), jitter=0.2
)
ATTEMPTS = len(SCHEDULE.delays) + 1
