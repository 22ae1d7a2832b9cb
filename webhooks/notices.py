"""What the calls that come in say, read field by field. Pure; what is not asked for is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.errors import FieldProblem, InvalidInput

NAME_MAX = 200
WORD_MAX = 60
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class UserNotice:
    """A client's app tells that its user knows of a workflow's end."""

    workflow_id: str
    user_id: str
    notified_at: datetime | None
    method: str


@dataclass(frozen=True, kw_only=True)
class UpstreamNotice:
    """An upstream tells that a workflow ended; `outputs` are whatever it says they are."""

    workflow_id: str
    status: str
    outputs: Any


@dataclass(frozen=True, kw_only=True)
class AppNotice:
    """What a client's app hears: an event of ours, or, with no `type`, the bare ids."""

    type: str
    workflow_id: str
    user_id: str


def read_user_notice(content: Mapping[str, Any]) -> UserNotice:
    """Read the body of /api/user_notified; raises InvalidInput with a pointer per field.

    An event of ours is refused: whoever caught one on its way, signed with a secret that both ways share, could
    else have its user pass for told.
    """
    fields = _Fields(content)
    fields.refuse_event()
    notice = UserNotice(
        workflow_id=fields.text("workflow_id", NAME_MAX, is_required=True),
        user_id=fields.text("user_id", NAME_MAX, is_required=True),
        notified_at=fields.time("notified_at"),
        method=fields.text("method", WORD_MAX),
    )
    fields.refuse_problems()
    return notice


def read_upstream_notice(content: Mapping[str, Any]) -> UpstreamNotice:
    """Read the body of /api/webhook/workflow-completed; raises InvalidInput with a pointer per field."""
    fields = _Fields(content)
    notice = UpstreamNotice(
        workflow_id=fields.text("workflow_id", NAME_MAX, is_required=True),
        status=fields.text("status", WORD_MAX),
        outputs=content.get("outputs"),
    )
    fields.refuse_problems()
    return notice


def read_app_notice(content: Mapping[str, Any]) -> AppNotice:
    """Read the body of /miniapp-gen-mock; raises InvalidInput with a pointer per field."""
    fields = _Fields(content)
    notice = AppNotice(
        type=fields.text("type", WORD_MAX),
        workflow_id=fields.text("workflow_id", NAME_MAX),
        user_id=fields.text("user_id", NAME_MAX),
    )
    fields.refuse_problems()
    return notice


@dataclass
class _Fields:
    """Reads fields of a JSON object and notes what is wrong with each; null counts as left out."""

    content: Mapping[str, Any]
    problems: list[FieldProblem] = field(default_factory=list)

    def text(self, name: str, max_length: int, *, is_required: bool = False) -> str:
        value = self.content.get(name)
        if value is None or value == "":
            if is_required:
                self._note(name, "required", "This field is required.")
            return ""
        if not isinstance(value, str) or len(value) > max_length:
            self._note(name, "invalid", f"Text of up to {max_length} characters.")
            return ""
        return value

    def time(self, name: str) -> datetime | None:
        value = self.content.get(name)
        try:
            return None if value is None else _time(value)
        except (ValueError, OverflowError):
            self._note(name, "invalid", "A time in ISO 8601, or whole milliseconds since 1970.")
            return None

    def refuse_event(self) -> None:
        if "type" in self.content and "data" in self.content:
            self._note("type", "not_a_notice", "This is an event, and no notice that a user knows of it.")

    def refuse_problems(self) -> None:
        if self.problems:
            raise InvalidInput("The body can't be accepted as it is.", errors=self.problems)

    def _note(self, name: str, code: str, detail: str) -> None:
        self.problems.append(FieldProblem(f"/{name}", code, detail))


def _time(value: object) -> datetime:
    """A time in UTC; one without an offset is in UTC already. Raises ValueError and OverflowError."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("neither text nor a whole number")
    if isinstance(value, int):
        return EPOCH + timedelta(milliseconds=value)
    time = datetime.fromisoformat(value)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
