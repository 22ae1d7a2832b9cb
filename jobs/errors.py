"""The one family of errors that services raise and edges translate."""

from __future__ import annotations

from dataclasses import dataclass


def pointer_part(name: object) -> str:
    """A key or an index as it stands in a pointer (RFC 6901 §3)."""
    return str(name).replace("~", "~0").replace("/", "~1")


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field: an RFC 6901 `pointer` into the body, a stable `code`, a sentence."""

    pointer: str
    code: str
    detail: str


class DomainError(Exception):
    """Something the platform refuses, with a stable `code` and the HTTP `status` it is answered with."""

    code = "refused"
    status = 409
    retry_after_seconds: int | None = None

    def __init__(self, detail: str, *, errors: list[FieldProblem] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or []


class InvalidInput(DomainError):
    """What was sent can't be accepted as it is; `errors` names each field."""

    code = "invalid"
    status = 422

    @classmethod
    def at(cls, pointer: str, code: str, detail: str) -> InvalidInput:
        return cls(detail, errors=[FieldProblem(pointer, code, detail)])


class InvalidTransition(DomainError):
    """The record is not in a state this verb may leave."""

    code = "invalid_transition"


class LeaseLost(DomainError):
    """The lease has lapsed or been given to another worker; nothing was written."""

    code = "lease_lost"


class OutcomeNotStored(DomainError):
    """Something here kept the end of an attempt from being stored; its lease is still live."""

    code = "outcome_not_stored"
    status = 503
    retry_after_seconds = 5


class WorkflowExists(DomainError):
    """The tenant already has a workflow of this `workflow_id`."""

    code = "workflow_exists"


class CollectionExists(DomainError):
    """The tenant already has a collection of this name."""

    code = "collection_exists"


class IdempotencyKeyInvalid(DomainError):
    """An `Idempotency-Key` has 1 to 255 printable ASCII characters."""

    code = "idempotency_key_invalid"
    status = 422


class IdempotencyKeyInFlight(DomainError):
    """The first request of this `Idempotency-Key` has not been answered yet."""

    code = "idempotency_key_in_flight"
    retry_after_seconds = 1


class IdempotencyKeyReused(DomainError):
    """The `Idempotency-Key` belongs to a request of another address or body."""

    code = "idempotency_key_reused"
    status = 422
