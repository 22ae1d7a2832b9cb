"""What the fault tests' jobs do: take a while, hang, kill their process."""

from __future__ import annotations

import itertools
import os
import re
import time
from dataclasses import dataclass

from jobs.queue.backoff import RetryPolicy
from jobs.queue.envelope import JobEnvelope
from jobs.queue.handlers import handler


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


@handler("test.talk", payload=Seconds, retry=RetryPolicy(max_attempts=1))
def talk(envelope: JobEnvelope[Seconds]) -> None:
    """Say a line every so many `seconds`, until it is stopped."""
    for number in itertools.count(1):
        envelope.checkpoint()
        envelope.log(f"line {number}")
        time.sleep(envelope.payload.seconds)
