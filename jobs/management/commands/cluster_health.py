"""`manage.py cluster_health`: the exit code says whether this host's cluster of a queue works."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django_q.conf import Conf

from config.logging import HOSTNAME
from jobs.models import Cluster
from jobs.queue.pulse import is_alive


class Command(BaseCommand):
    help = "Exit 0 when the clusters of a queue on this host work, 1 when one is stuck or there is none."
    requires_system_checks = []  # asked every few seconds

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queue", default=Conf.CLUSTER_NAME, help="default: Q_CLUSTER_NAME, else `default`"
        )

    def handle(self, *args: Any, queue: str, **options: Any) -> None:
        records = Cluster.objects.filter(hostname=HOSTNAME, queue=queue)
        living = [cluster for cluster in records if is_alive(cluster.pid)]
        if not living:
            raise CommandError(f"No cluster of the queue {queue!r} runs on {HOSTNAME}.")
        stuck = set(records.stuck().values_list("pk", flat=True))
        for cluster in living:
            if cluster.pk in stuck:
                problem = cluster.problem or f"It has not beaten since {cluster.beat_at.isoformat()}."
                raise CommandError(f"The cluster {cluster} is stuck: {problem}")
        self.stdout.write(f"{len(living)} working")
