"""`manage.py demo`: starts everything, has one real picture painted and published, shows what that has left."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.demo import accounts
from jobs.demo.generation import APP, Client, DemoFailed, check_evidence
from jobs.demo.processes import free_port, running, wait_until_ready
from jobs.demo.screen import Screen
from jobs.demo.submission import (
    check_published,
    check_skipped,
    check_work,
    read_contract,
    watch_submission,
)
from jobs.evaluator.runs import evaluate
from jobs.models import Scope

RUN_SECONDS = 120.0
NOTIFY_SECONDS = 60.0
PUBLISH_SECONDS = 120.0
USER = "user-demo"
# The client's app of the demo runs in the platform itself: on this machine, without TLS.
SHORTCUTS = {
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "WEBHOOK_ALLOW_HTTP": "true",
    "MINIAPP_MOCK_OBEYS": "true",
}
PROMPTS = [
    ("a mountain lake at sunset", "realistic"),
    ("aurora over a frozen lake in winter", "watercolor"),
    ("mountain lake at dusk", "minimal"),
]


class Command(BaseCommand):
    help = "Run the whole platform with an example worker and push one real generation through it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="stop when the run is complete; the exit code tells"
        )
        parser.add_argument("--port", type=int, help="default: 8000, or a free one")

    def handle(self, *args: Any, once: bool, port: int | None, **options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _interrupt)
        screen = Screen()
        port = port or free_port(8000)
        url, log = f"http://127.0.0.1:{port}", settings.DATA_DIR / "demo.log"
        try:
            with (
                log.open("wb") as output,
                running(["manage.py", "up", "--port", str(port)], output, **SHORTCUTS) as process,
            ):
                with screen.waiting("Starting database, web server and cluster …"):
                    wait_until_ready(url, process)
                self.run(screen, url, output, once=once)
        except DemoFailed as error:
            raise CommandError(f"{error} The log is {log}.") from error
        except KeyboardInterrupt:
            screen.say("Stopped.")

    def run(self, screen: Screen, url: str, output: Any, *, once: bool) -> None:
        password = accounts.ensure_operator()
        tenant = accounts.ensure_tenant()
        key = accounts.replace_key(tenant, "demo", *Scope)
        worker_key = accounts.replace_key(tenant, "demo art worker", Scope.WORK)
        client = Client(url, key)
        # It knows the platform by the secret of its endpoint, and signs with the same when it answers.
        secret = client.replace_endpoint(f"{url}/miniapp-gen-mock")
        call_command("create_sender", tenant.slug, name=APP, rotate=True, secret=secret)
        worker = ["examples/art_worker.py", "--url", url, "--worker-id", "art-1"]
        with running(worker, output, AFFIDAVIT_API_KEY=worker_key) as process:
            picture = self.generate(screen, client, lambda: process.poll() is None)
            if password:
                screen.say(f"Operator account, shown this once: {accounts.OPERATOR} / {password}")
            self.publish(screen, client, picture)
            if not once:
                screen.say(f"API key of this run: {key}")
                stay(screen, url)

    def generate(self, screen: Screen, client: Client, is_worker_alive: Callable[[], bool]) -> bytes:
        """Have a picture painted, show what that has left, and return the picture."""
        prompt, style = random.choice(PROMPTS)  # noqa: S311  a picture, no secret
        variables = {"prompt": prompt, "style": style, "seed": random.randrange(10_000)}  # noqa: S311
        accepted = client.generate(variables, user_id=USER)
        screen.say(f"Submitted {accepted['workflow_id']}: {variables}")
        workflow = screen.watch(
            client.watch(accepted["workflow_id"], within_seconds=RUN_SECONDS, is_worker_alive=is_worker_alive)
        )
        client.watch_notification(workflow["workflow_id"], within_seconds=NOTIFY_SECONDS)
        evaluate()  # what the schedule does every ten minutes
        workflow = client.workflow(workflow["workflow_id"])
        attestations = client.attestations(workflow["workflow_id"])
        deliveries = client.deliveries(workflow["workflow_id"])
        check_evidence(workflow, attestations, deliveries)
        pictures = [client.picture(output) for output in workflow["outputs"]]
        screen.evidence(
            workflow, attestations, deliveries, [stored_path(output) for output in workflow["outputs"]]
        )
        return pictures[0]

    def publish(self, screen: Screen, client: Client, picture: bytes) -> None:
        """Submit the picture, show how it is proved and published, and what the contract says of it."""
        accepted = client.submit_picture(picture, user_id=USER)
        screen.say(f"Submitted the picture: submission {accepted['id']}")
        submission = screen.watch_submission(
            watch_submission(client, accepted["id"], within_seconds=PUBLISH_SECONDS)
        )
        record = read_contract(submission) if submission["transaction_id"] else None
        self.show_publication(screen, client, picture, submission, record)
        screen.say(
            f"transaction: {record['transaction']['transaction_id']}"
            if record
            else f"skipped: {submission['skipped_reason']}; the proof is kept until there is one"
        )

    def show_publication(
        self,
        screen: Screen,
        client: Client,
        picture: bytes,
        submission: dict[str, Any],
        record: dict[str, Any] | None,
    ) -> None:
        """Check and show what the submission has left; `record` is the contract's, None without a chain."""
        told = {"workflow.completed"} | ({"submission.complete"} if record else set())
        workflow_id = submission["workflow_id"]
        deliveries = client.watch_deliveries(workflow_id, told, within_seconds=NOTIFY_SECONDS)
        client.watch_notification(workflow_id, within_seconds=NOTIFY_SECONDS)
        evaluate()
        workflow, attestations = client.workflow(workflow_id), client.attestations(workflow_id)
        check_work(workflow, attestations, deliveries, told=told)
        if record:
            check_published(picture, submission, record, workflow)
        else:
            check_skipped(picture, submission)
        screen.publication(submission, workflow, attestations, deliveries, record)


def stored_path(url: str) -> str:
    """Where an output of ours lies on this machine."""
    path = urlsplit(url).path.removeprefix(settings.MEDIA_URL)
    return str(Path(settings.MEDIA_ROOT) / path)


def stay(screen: Screen, url: str) -> None:
    """Keep everything up until Ctrl-C."""
    screen.say(f"Monitor:  {url}/admin/")
    screen.say(f"API:      {url}/api/docs")
    screen.say("Ctrl-C stops everything.")
    while True:
        time.sleep(1)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
