"""The envelope every job travels in, from the request that asked for it to the handler that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

Payload = TypeVar("Payload")


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
