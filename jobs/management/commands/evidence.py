"""`manage.py evidence`: proves on a real run that a job's envelope reaches its row and its log line."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.tracing import new_trace_id
from jobs.demo.envelope import Caller, check_end
from jobs.demo.envelope_page import page
from jobs.demo.generation import DemoFailed
from jobs.demo.own_platform import OwnPlatform, own_platform


class Command(BaseCommand):
    help = "Run background jobs on a platform of its own and print what they left, checked, as Markdown."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with own_platform(self.say) as platform:
                evidence = self.gather(platform)
        except DemoFailed as failure:
            raise CommandError(str(failure)) from failure
        except KeyboardInterrupt as interrupt:
            raise CommandError("Stopped.", returncode=130) from interrupt
        self.stdout.write(evidence)

    def gather(self, platform: OwnPlatform) -> str:
        """Run the jobs, check what became of them; the page. Raises DemoFailed."""
        trace_id = new_trace_id()
        mine, other = Caller(platform, "acme"), Caller(platform, "globex")

        self.say("Following system.ping …")
        ping = mine.follow("system.ping", {}, trace_id=trace_id)
        check_end(ping, status="completed", attempt=1, result={"pong": trace_id})

        self.say("Following two reminders …")
        own_id, other_id = mine.start_workflow("request-1"), other.start_workflow("request-2")
        due = mine.follow("requests.reminder", {"requestId": own_id}, trace_id=trace_id)
        check_end(due, status="completed", attempt=1, result={"requestId": own_id, "reminder": "due"})
        refused = mine.follow("requests.reminder", {"requestId": other_id}, trace_id=trace_id)
        check_end(refused, status="failed", attempt=1, error="workflow_not_found")
        return page(ping, due, refused)

    def say(self, text: str) -> None:
        """Tell how far it is, beside the page."""
        self.stderr.write(text, self.style.HTTP_INFO)
