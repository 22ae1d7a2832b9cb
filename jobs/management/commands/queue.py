"""`manage.py queue pause|resume|limit NAME`: what the monitor's page of queues does, for scripts."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.models import Queue
from jobs.services.queues import limit_queue, pause_queue, resume_queue


class Command(BaseCommand):
    help = "Pause, resume or limit a queue of the clusters, or (--service) a service of remote workers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=["pause", "resume", "limit"])
        parser.add_argument("name")
        parser.add_argument("max_running", nargs="?", type=int, help="with limit: none given takes it off")
        parser.add_argument("--service", action="store_true", help="NAME is what remote workers offer")

    def handle(
        self, *args: Any, verb: str, name: str, max_running: int | None, service: bool, **options: Any
    ) -> None:
        queue = find_queue(name, is_remote=service)
        if max_running is not None and (verb != "limit" or max_running < 1):
            raise CommandError("A number goes with limit, and is 1 or more.")
        if verb == "pause":
            pause_queue(queue, by="manage.py")
        elif verb == "resume":
            resume_queue(queue)
        else:
            limit_queue(queue, max_running)
        state = "paused" if queue.is_paused else "running"
        limit = f"{queue.max_running} at a time" if queue.max_running else "no limit"
        self.stdout.write(f"{queue.name}: {state}, {limit}")


def find_queue(name: str, *, is_remote: bool) -> Queue:
    """The record of a queue, or of a service, which gets one when it is first spoken of. Raises CommandError."""
    if is_remote:
        return Queue.objects.get_or_create(name=name, is_remote=True)[0]
    try:
        return Queue.objects.get(name=name, is_remote=False)
    except Queue.DoesNotExist as error:
        known = ", ".join(Queue.objects.filter(is_remote=False).values_list("name", flat=True))
        raise CommandError(f"There is no queue {name!r}; there are {known}.") from error
