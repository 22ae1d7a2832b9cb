"""A django-q2 cluster that knows a few kinds only tests want. Run as a program."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.core.management import call_command  # noqa: E402

from jobs.queue.backoff import RetryPolicy  # noqa: E402
from jobs.queue.envelope import JobEnvelope  # noqa: E402
from jobs.queue.handlers import handler  # noqa: E402


@dataclass(frozen=True)
class Seconds:
    seconds: float


@handler("test.sleep", payload=Seconds)
def sleep(envelope: JobEnvelope[Seconds]) -> dict[str, int]:
    """Take a while."""
    time.sleep(envelope.payload.seconds)
    return {"pid": os.getpid()}


@handler("test.hang", payload=Seconds, timeout_seconds=1, retry=RetryPolicy(max_attempts=1))
def hang(envelope: JobEnvelope[Seconds]) -> None:
    """Sit in C code that never lets go of the interpreter."""
    re.match(r"(a+)+$", "a" * 60 + "b")


@handler("test.hang_in_batch", payload=Seconds, timeout_seconds=1, batch_size=20)
def hang_in_batch(envelope: JobEnvelope[Seconds]) -> None:
    """Light work, of which one that gives `seconds` gets stuck."""
    if envelope.payload.seconds:
        re.match(r"(a+)+$", "a" * 60 + "b")


@handler("test.die", payload=Seconds, batch_size=20)
def die(envelope: JobEnvelope[Seconds]) -> None:
    """Take the process along, unless `seconds` is 0."""
    if envelope.payload.seconds:
        os._exit(1)


if __name__ == "__main__":
    call_command("qcluster")
