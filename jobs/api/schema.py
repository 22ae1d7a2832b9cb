"""OpenAPI: what each call needs and how it can fail."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema

from jobs.api.permissions import scope_of


class ScopedSchema(AutoSchema):
    """Adds the scope a call needs to its description, and the problem answers it may give."""

    def get_description(self) -> str:  # type: ignore[override]
        text: str = super().get_description() or ""
        scope = scope_of(self.view, self.method)
        return f"{text}\n\nScope: `{scope}`." if scope else text

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None:
            operation["responses"].setdefault("default", PROBLEM_ANSWER)
        return operation


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
