"""How many webhooks leave in a second, to one endpoint, to ten and to a hundred."""

from __future__ import annotations

from benchmarks.database import empty_tables, query
from benchmarks.jobs import the_tenant
from benchmarks.processes import cluster
from benchmarks.receiver import receiver
from benchmarks.webhooks import ALLOWED, add_endpoints, are_all_told, check_all_told, tell

PATIENCE_SECONDS = 180.0


def measure(*, is_quick: bool) -> dict[str, float]:
    """A backlog, sent by one cluster of two processes to a local receiver that answers at once."""
    count = 200 if is_quick else 4_000
    with receiver() as url:
        return {
            "delivery_per_s": _deliveries_per_second(url, endpoints=10, count=count),
            "delivery_per_s_1_endpoint": _deliveries_per_second(url, endpoints=1, count=count),
            "delivery_per_s_100_endpoints": _deliveries_per_second(url, endpoints=100, count=count),
        }


def _deliveries_per_second(url: str, *, endpoints: int, count: int) -> float:
    empty_tables()
    tenant = the_tenant()
    add_endpoints(tenant, endpoints, url)
    tell(tenant, count // endpoints)
    with cluster("webhooks", settings=ALLOWED) as process:
        process.wait_until(are_all_told, seconds=PATIENCE_SECONDS, pause=0.2)
    check_all_told(count)
    # From the first attempt: that the cluster has to start is not what is measured.
    seconds = query(
        """
        SELECT extract(epoch FROM (SELECT max(delivered_at) FROM webhooks_delivery)
                                - (SELECT min(started_at) FROM webhooks_attempt))
        """
    )[0]
    return count / float(seconds)
