"""The envelope every job travels in, from the request that asked for it to the handler that runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar
from uuid import UUID

Payload = TypeVar("Payload")


class JobStopped(BaseException):
    """Raised by a checkpoint of a job that is not to go on; not an Exception, so that few swallow it."""


def _never() -> bool:
    return False


class Telling(Protocol):
    """Where an attempt tells of itself; each answers False when the attempt is over."""

    def log(self, lines: Sequence[str]) -> bool: ...

    def progress(self, progress: int, message: str) -> bool: ...


class _Silence:
    """Tells nobody: an envelope that no queue has sent, as a test of a handler makes one."""

    def log(self, lines: Sequence[str]) -> bool:
        return True

    def progress(self, progress: int, message: str) -> bool:
        return True


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
    telling: Telling = field(default_factory=_Silence, repr=False, compare=False)

    def checkpoint(self) -> None:
        """Raise JobStopped when the job was cancelled, or its lease lost; call it between pieces of long work.

        It asks nobody: what is new is learnt once a second by a thread of this process.
        """
        if self.is_stopped():
            raise JobStopped

    def log(self, *lines: str) -> None:
        """Keep lines of the job's log, which those who watch it see at once; raises JobStopped as checkpoint() does.

        Inside a transaction of the handler's own they are seen when that commits, and only then.
        """
        self.checkpoint()
        if lines and not self.telling.log(lines):
            raise JobStopped

    def progress(self, percent: int, message: str = "") -> None:
        """Say how far the job is, from 0 to 100, to those who watch it; raises JobStopped as checkpoint() does."""
        self.checkpoint()
        if not self.telling.progress(percent, message):
            raise JobStopped
