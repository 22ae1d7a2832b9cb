"""`manage.py cluster_health`: the exit code says whether this host's cluster of a queue works."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django_q.conf import Conf

from config.logging import HOSTNAME
from jobs.models import Cluster
from jobs.queue.pulse import is_alive

LOOK_EVERY_SECONDS = 0.5


class Command(BaseCommand):
    help = "Exit 0 when the clusters of a queue on this host work, 1 when one is stuck or there is none."
    requires_system_checks = []  # asked every few seconds

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queue", default=Conf.CLUSTER_NAME, help="default: Q_CLUSTER_NAME, else `default`"
        )
        parser.add_argument("--wait", type=float, default=0, help="give it so many seconds to get well")

    def handle(self, *args: Any, queue: str, wait: float, **options: Any) -> None:
        end = time.monotonic() + wait
        while problem := find_problem(queue):
            if time.monotonic() >= end:
                raise CommandError(problem)
            time.sleep(LOOK_EVERY_SECONDS)
        self.stdout.write("working")


def find_problem(queue: str) -> str:
    """What is wrong with this host's clusters of `queue`; empty when all of them work and there is one."""
    records = Cluster.objects.filter(hostname=HOSTNAME, queue=queue)
    living = [cluster for cluster in records if is_alive(cluster.pid)]
    if not living:
        return f"No cluster of the queue {queue!r} runs on {HOSTNAME}."
    stuck = set(records.stuck().values_list("pk", flat=True))
    for cluster in living:
        if cluster.pk in stuck:
            problem = cluster.problem or f"It has not beaten since {cluster.beat_at.isoformat()}."
            return f"The cluster {cluster} is stuck: {problem}"
    return ""
