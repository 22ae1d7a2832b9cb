"""The registry of in-house handlers: what a kind runs, expects, and does when it fails.

An app registers its kinds in `<app>/job_handlers.py`, which is imported when Django starts:

    @handler("reports.build", payload=BuildReport, retry=RetryPolicy(max_attempts=5))
    def build_report(envelope: JobEnvelope[BuildReport]) -> dict[str, str]: ...
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pydantic
from django.conf import settings

from jobs.errors import FieldProblem, InvalidInput, pointer_part
from jobs.queue.backoff import RetryPolicy
from jobs.queue.envelope import JobEnvelope

Payload = TypeVar("Payload")
KIND = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


class PermanentError(Exception):
    """Raised by a handler whose job must not be tried again; `code` says why, for machines."""

    def __init__(self, message: str, *, code: str = "permanent") -> None:
        super().__init__(message)
        self.code = code


class TryAgain(Exception):
    """Raised by a handler that could not do its work this time; `code` says why, for machines, `str()` for people."""

    def __init__(self, message: str, *, code: str = "try_again") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class NoPayload:
    """The payload of a kind that needs none: `{}`."""


@dataclass(frozen=True, kw_only=True)
class Handler:
    """A registered kind. `batch_size` jobs of it may be claimed and finished together by one process."""

    kind: str
    run: Callable[[JobEnvelope[Any]], Any]
    payload_type: type[Any]
    queue: str = "default"
    batch_size: int = 1
    timeout_seconds: int | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    is_attested: bool = True
    is_internal: bool = False  # the platform's own: no client may ask for it
    declares_output: bool = False  # a result that holds nothing is a problem

    @functools.cached_property
    def _adapter(self) -> pydantic.TypeAdapter[Any]:
        strict = pydantic.ConfigDict(extra="forbid", strict=True)
        checked = pydantic.dataclasses.dataclass(self.payload_type, config=strict, frozen=True)
        return pydantic.TypeAdapter(checked)

    @functools.cached_property
    def takes_nothing(self) -> bool:
        return not dataclasses.fields(self.payload_type)

    def parse(self, payload: Any) -> Any:
        """Turn a JSON payload into the kind's dataclass.

        Raises InvalidInput with a pointer (from `/payload` down) per field that is wrong.
        """
        if self.takes_nothing and payload == {}:
            return self.payload_type()
        try:
            return self._adapter.validate_json(json.dumps(payload))
        except pydantic.ValidationError as error:
            raise InvalidInput(
                f"This is not a payload of {self.kind}.",
                errors=[
                    FieldProblem(
                        pointer="/".join(["/payload", *map(pointer_part, problem["loc"])]),
                        code=problem["type"],
                        detail=problem["msg"],
                    )
                    for problem in error.errors(include_url=False, include_input=False)
                ],
            ) from error


_handlers: dict[str, Handler] = {}


def handler(
    kind: str,
    *,
    payload: type[Payload],
    queue: str = "default",
    batch_size: int = 1,
    timeout_seconds: int | None = None,
    retry: RetryPolicy | None = None,
    is_attested: bool = True,
    is_internal: bool = False,
    declares_output: bool = False,
) -> Callable[[Callable[[JobEnvelope[Payload]], Any]], Callable[[JobEnvelope[Payload]], Any]]:
    """Register the decorated function as the handler of `kind`.

    Raises ValueError for a malformed or taken kind, an unknown queue, or a payload that is no dataclass.
    """
    if not KIND.fullmatch(kind):
        raise ValueError(f"A kind is dotted lowercase words, like reports.build, not {kind!r}.")
    if kind in _handlers:
        raise ValueError(f"The kind {kind!r} has a handler already.")
    if queue not in settings.QUEUES:
        raise ValueError(f"The kind {kind!r} names the queue {queue!r}, which is not in settings.QUEUES.")
    if not dataclasses.is_dataclass(payload):
        raise ValueError(f"The payload of {kind!r} must be a dataclass.")

    def register(run: Callable[[JobEnvelope[Payload]], Any]) -> Callable[[JobEnvelope[Payload]], Any]:
        _handlers[kind] = Handler(
            kind=kind,
            run=run,
            payload_type=payload,
            queue=queue,
            batch_size=batch_size,
            timeout_seconds=timeout_seconds,
            retry=retry or RetryPolicy(),
            is_attested=is_attested,
            is_internal=is_internal,
            declares_output=declares_output,
        )
        return run

    return register


def unregister(kind: str) -> None:
    """Forget a kind (for tests that registered one)."""
    _handlers.pop(kind, None)


def find_handler(kind: str) -> Handler | None:
    """The handler of `kind`, or None where no app has registered it."""
    return _handlers.get(kind)


def get_handler(kind: str, *, pointer: str = "/kind", for_client: bool = False) -> Handler:
    """The handler of `kind`; raises InvalidInput at `pointer` where there is none (that a client may ask for)."""
    found = _handlers.get(kind)
    if found is None or (for_client and found.is_internal):
        raise InvalidInput.at(pointer, "unknown_kind", f"No handler is registered for {kind!r}.")
    return found


def registered_kinds() -> list[str]:
    """Every kind that has a handler, by name."""
    return sorted(_handlers)


def kinds_with_output() -> list[str]:
    """The kinds that declare an output."""
    return [kind for kind, registered in _handlers.items() if registered.declares_output]


def attested_kinds() -> list[str]:
    """The kinds that have not opted out of attestations and messages."""
    return [kind for kind, registered in _handlers.items() if registered.is_attested]


def served_queues() -> list[str]:
    """The queues that some handler uses, in the order of the settings."""
    used = {registered.queue for registered in _handlers.values()}
    return [queue for queue in settings.QUEUES if queue in used]
