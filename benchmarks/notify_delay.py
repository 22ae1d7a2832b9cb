"""How soon a client hears of a job that has finished."""

from __future__ import annotations

import random
import time
from statistics import median

from benchmarks.database import empty_tables, query
from benchmarks.jobs import KIND, are_all_ended, the_tenant
from benchmarks.processes import cluster
from benchmarks.receiver import receiver
from benchmarks.webhooks import ALLOWED, add_endpoints, are_all_told, check_all_told
from jobs.queue.enqueue import enqueue_job

WARM_UP = 20
PATIENCE_SECONDS = 60.0


def measure(*, is_quick: bool) -> dict[str, float]:
    """Jobs one at a time, each after a random pause; from `completed_at` to `delivered_at`, stored both."""
    count = 40 if is_quick else 200
    empty_tables()
    tenant = the_tenant()
    with receiver() as url:
        add_endpoints(tenant, 1, url)
        with cluster() as jobs, cluster("webhooks", settings=ALLOWED) as sending:
            for _ in range(WARM_UP + count):
                time.sleep(random.uniform(0.03, 0.07))
                enqueue_job(KIND, tenant_id=tenant.pk)
            jobs.wait_until(are_all_ended, seconds=PATIENCE_SECONDS)
            sending.wait_until(are_all_told, seconds=PATIENCE_SECONDS)
    check_all_told(WARM_UP + count)
    millis = query(
        """
        SELECT array_agg(extract(epoch FROM d.delivered_at - j.completed_at) * 1000 ORDER BY j.id)
          FROM jobs_job j
          JOIN webhooks_message m ON m.job_id = j.id
          JOIN webhooks_delivery d ON d.message_id = m.id
        """
    )[0]
    return {"notify_delay_p50_ms": median(float(each) for each in millis[WARM_UP:])}
