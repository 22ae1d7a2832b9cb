"""OpenAPI: what each call needs and how it can fail."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from jobs.api.permissions import scope_of


class ScopedSchema(AutoSchema):
    """Adds the scope a call needs to its description, the key it may carry, and the problem it may answer."""

    def get_description(self) -> str:  # type: ignore[override]
        text: str = super().get_description() or ""
        scope = scope_of(self.view, self.method)
        return f"{text}\n\nScope: `{scope}`." if scope else text

    def get_override_parameters(self) -> list[Any]:
        parameters: list[Any] = super().get_override_parameters()
        action = getattr(self.view, self.method.lower(), None)
        return [*parameters, IDEMPOTENCY_KEY] if getattr(action, "is_idempotent", False) else parameters

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            operation["responses"].setdefault("default", PROBLEM_ANSWER)
        return operation


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255},
    OpenApiParameter.HEADER,
    description="Your own name for this request. Sent again within 24 hours, it creates nothing more and gets "
    "the first answer, with `Idempotent-Replayed: true`; 409 while the first is being worked on, 422 with "
    "another body.",
)
PROBLEM_ANSWER = {
    "description": "A problem (RFC 9457)",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "code", "detail", "trace_id", "errors"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                    "trace_id": {"type": "string"},
                    "errors": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "pointer": {"type": "string"},
                                "code": {"type": "string"},
                                "detail": {"type": "string"},
                            },
                        },
                    },
                },
            }
        }
    },
}
