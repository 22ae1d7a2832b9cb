"""What an in-house job tells of itself while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from jobs.hygiene.sanitizer import sanitize_base64, sanitize_text
from jobs.models import Event, Job, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.queue.outcomes import CUT, UNSTORABLE
from jobs.services.events import record_of_attempt

LINE_MAX_CHARS = 10_000  # what a remote worker's line may have, too
LINES_PER_EVENT = 100


@dataclass(slots=True)
class Attempt:
    """An attempt that is under way, as its envelope tells of it."""

    job_id: UUID
    number: int

    def log(self, lines: Sequence[str]) -> bool:
        return log_of_attempt(self.job_id, self.number, lines)

    def progress(self, progress: int, message: str) -> bool:
        return progress_of_attempt(self.job_id, self.number, progress, message)


def log_of_attempt(job_id: UUID, attempt: int, lines: Sequence[str]) -> bool:
    """Keep lines that a job has to say, the beginning of those that are too long; False when that attempt is over."""
    clean = [_storable(line, LINE_MAX_CHARS) for line in sanitize_base64(list(lines), in_words=True)]
    parts = [clean[start : start + LINES_PER_EVENT] for start in range(0, len(clean), LINES_PER_EVENT)]
    return record_of_attempt(job_id, attempt, [(Event.Type.LOG, {"lines": part}) for part in parts])


def progress_of_attempt(job_id: UUID, attempt: int, progress: int, message: str) -> bool:
    """Note how far a job is, in percent; False when that attempt is over. Raises ValueError beyond 0 to 100."""
    if not 0 <= progress <= 100:
        raise ValueError(f"Progress is a percentage, not {progress}.")
    said = {"progress": progress, "message": _storable(sanitize_text(message), LINE_MAX_CHARS)}
    with transaction.atomic():
        is_live = record_of_attempt(job_id, attempt, [(Event.Type.PROGRESS, said)])
        if is_live:
            Job.objects.filter(pk=job_id).update(progress=progress, **NOT_EVALUATED)
            Workflow.objects.filter(jobs=job_id, is_cleanup_evaluated=True).update(**NOT_EVALUATED)
    return is_live


def _storable(text: str, max_chars: int) -> str:
    text = UNSTORABLE.sub("\ufffd", text)
    return text if len(text) <= max_chars else text[: max_chars - len(CUT)] + CUT
