"""The envelope every job travels in, from the request that asked for it to the handler that runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

Payload = TypeVar("Payload")


class JobStopped(BaseException):
    """Raised by a checkpoint of a job that is not to go on; not an Exception, so that few swallow it."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnvelope(Generic[Payload]):
    """A job as its handler sees it.

    `tenant_id` is None for the platform's own work; `trace_id` is 32 hex digits; `attempt` counts from 1.
    """

    job_id: UUID
    attempt: int
    tenant_id: UUID | None
    actor_id: str
    trace_id: str
    request_id: str
    payload: Payload
    is_stopped: Callable[[], bool] = field(default=_never, repr=False, compare=False)

    def checkpoint(self) -> None:
        """Raise JobStopped when the job was cancelled, or its lease lost; call it between pieces of long work.

        It asks nobody: what is new is learnt once a second by a thread of this process.
        """
        if self.is_stopped():
            raise JobStopped
