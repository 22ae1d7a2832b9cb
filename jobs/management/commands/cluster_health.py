"""`manage.py cluster_health`: the exit code says whether this host's cluster of a queue works."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django_q.conf import Conf

from config.logging import HOSTNAME
from jobs.models import Cluster
from jobs.queue.pulse import is_cluster, short_transaction

LOOK_EVERY_SECONDS = 0.5


class Command(BaseCommand):
    help = (
        "Exit 0 when the clusters of a queue on this host work, 1 when one is stuck or there is none; "
        "0 also when the database is away, as restarting them would not help."
    )
    requires_system_checks = []  # asked every few seconds

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queue", default=Conf.CLUSTER_NAME, help="default: Q_CLUSTER_NAME, else `default`"
        )
        parser.add_argument("--wait", type=float, default=0, help="give it so many seconds to get well")

    def handle(self, *args: Any, queue: str, wait: float, **options: Any) -> None:
        end = time.monotonic() + wait
        try:
            while problem := find_problem(queue):
                if time.monotonic() >= end:
                    raise CommandError(problem)
                time.sleep(LOOK_EVERY_SECONDS)
        except Error as error:
            self.stdout.write(f"can't tell: the database is away ({str(error).strip()})")
        else:
            self.stdout.write("working")


def find_problem(queue: str) -> str:
    """What is wrong with this host's clusters of `queue`; empty when all of them work and there is one."""
    records = Cluster.objects.filter(hostname=HOSTNAME, queue=queue)
    with short_transaction():
        living = [cluster for cluster in records if is_cluster(cluster.pid)]
        stuck = set(records.stuck().values_list("pk", flat=True))
    if not living:
        return f"No cluster of the queue {queue!r} runs on {HOSTNAME}."
    for cluster in living:
        if cluster.pk in stuck:
            problem = cluster.problem or f"It has not beaten since {cluster.beat_at.isoformat()}."
            return f"The cluster {cluster} is stuck: {problem}"
    return ""
