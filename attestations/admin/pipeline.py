"""What a submission's page says of its five steps: where it is, what each took, what it waits for, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from attestations.models import Submission
from attestations.services.submissions import GENERATE, PUBLISH
from jobs.admin.displays import badge, link, moment, span
from jobs.models import Job

Status = Submission.Status
STAGES = ("setup", "prove", "verify", "load", "send", "confirm")  # in the order in which they come

# What an operator can do about a job that has failed for good, by the code of its error.
ADVICE = {
    "out_of_memory": "Raise PROOF_MEMORY_MB, restart, and have it submitted again.",
    "timed_out": "Raise PROOF_SECONDS, restart, and have it submitted again.",
    "keys_damaged": "Put the keys in PROOF_KEYS_DIR back from a copy; then have it submitted again.",
    "creator_key_unreadable": "Put the key that sealed it back into ENCRYPTION_KEYS, and have it submitted again.",
    "prover_not_installed": "Name an installed prover for it in PROVERS, or have it submitted with another system.",
    "proof_invalid": "The stored proof was altered, or the keys were replaced: have it submitted again.",
    "already_registered": "Somebody else has registered this digest on the contract. That stays.",
    "proof_refused": "The contract was deployed with other keys than those in PROOF_KEYS_DIR: deploy one with these, set "
    "CONTRACT_ADDRESS, and have it submitted again.",
    "not_operator": "Only the contract's operator records what was verified off chain: set PRIVATE_KEY to that one's, or "
    "have it submitted with Groth16.",
    "no_contract": "There is no contract at CONTRACT_ADDRESS: deploy one, and have it submitted again.",
    "wrong_contract": "CONTRACT_ADDRESS is another contract's: correct it, and have it submitted again.",
    "chain_unavailable": "See why the node did not answer in time (the log of its job says), and have it submitted again.",
    "expired": "It was not published in time: see whether the queue proof-publishing is served, and have it submitted "
    "again.",
}
NO_CHAIN = (
    "Set CHAIN_RPC_URL, PRIVATE_KEY and CONTRACT_ADDRESS, restart, and publish it here: its proof is kept."
)
REJECTED = "Its picture may be submitted again, and is then reviewed anew."
PROVED_ANEW = "Publish it here: it is proved anew for the address that publishes now."


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One step of five: its badge's word, when it was, what there is to say, and the seconds of its stages."""

    title: str
    word: str
    at: datetime | None = None
    notes: list[Any] = field(default_factory=list)
    stages: Mapping[str, float] = field(default_factory=dict)
    job: Job | None = None

    def as_shown(self) -> dict[str, Any]:
        """What templates/admin/attestations/submission/pipeline.html takes."""
        whole = max(sum(self.stages.values()), 0.001)
        return {
            "title": self.title,
            "badge": badge(self.word),
            "at": moment(self.at),
            "notes": [note for note in self.notes if note],
            "job": link(self.job, "Its job") if self.job else None,
            "stages": [
                {"name": name, "seconds": seconds, "of": whole, "took": _seconds(seconds)}
                for name in STAGES
                if (seconds := self.stages.get(name)) is not None
            ],
        }


def pipeline_of(submission: Submission, jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """The five steps of a submission; `jobs` are those of its runs, the latest last."""
    latest = {job.kind: job for job in jobs}
    lines = [
        _submitted(submission),
        _reviewed(submission),
        _proved(submission, latest.get(GENERATE)),
        _published(submission, latest.get(PUBLISH)),
        _ended(submission),
    ]
    return [line.as_shown() for line in lines]


def what_to_do(submission: Submission, jobs: Iterable[Job]) -> str:
    """What an operator can do about a submission that was skipped or rejected; "" where there is nothing to be done."""
    if submission.status == Status.PROOF_PUBLISHING and submission.skipped_reason:
        return NO_CHAIN if submission.skipped_reason.startswith("no chain") else PROVED_ANEW
    if submission.status != Status.REJECTED:
        return ""
    if submission.decision == Submission.Decision.REJECTED:
        return REJECTED
    codes = [job.error.get("code") for job in jobs if isinstance(job.error, dict)]
    return next((ADVICE[code] for code in reversed(codes) if code in ADVICE), REJECTED)


def _submitted(submission: Submission) -> Line:
    given = "with its picture" if submission.image else "by its hash alone"
    by = f"By {submission.actor_id}, {given}." if submission.actor_id else f"{given.capitalize()}."
    return Line(title="Submitted", word="completed", at=submission.created_at, notes=[by])


def _reviewed(submission: Submission) -> Line:
    if not submission.decision:
        is_open = submission.status == Status.AWAITING_REVIEW
        return Line(title="Reviewed", word="awaiting review" if is_open else "not reached")
    notes = [f"By {submission.decided_by}.", submission.decision_reason]
    return Line(title="Reviewed", word=submission.decision, at=submission.decided_at, notes=notes)


def _proved(submission: Submission, job: Job | None) -> Line:
    is_done = bool(submission.proof_digest)
    return Line(
        title="Proved",
        word="completed" if is_done else _word_of(submission, job, is_begun=submission.runs > 0),
        at=submission.generation_started_at,
        notes=[*_retries(submission.generation_retry_count), *([] if is_done else _waits_for(job))],
        stages=submission.generation_stages,
        job=job,
    )


def _published(submission: Submission, job: Job | None) -> Line:
    is_skipped = submission.status == Status.PROOF_PUBLISHING and bool(submission.skipped_reason)
    is_done = submission.status == Status.COMPLETE
    if is_done or is_skipped:
        word = "completed" if is_done else "skipped"
    else:
        word = _word_of(submission, job, is_begun=bool(submission.proof_digest))
    reason = submission.skipped_reason
    waits = [f"{reason[:1].upper()}{reason[1:]}."] if is_skipped else _waits_for(job)
    is_reached = bool(submission.proof_digest)
    return Line(
        title="Published",
        word=word,
        at=submission.publishing_started_at,
        notes=[*_retries(submission.publishing_retry_count), *(waits if is_reached and not is_done else [])],
        stages=submission.publishing_stages,
        job=job,
    )


def _ended(submission: Submission) -> Line:
    if submission.status == Status.COMPLETE:
        notes = [f"In block {submission.block_number:,}."] if submission.block_number is not None else []
        return Line(title="Confirmed", word="complete", at=submission.verified_at, notes=notes)
    if submission.status == Status.REJECTED:
        return Line(title="Confirmed", word="not reached")
    return Line(title="Confirmed", word="not yet")


def _word_of(submission: Submission, job: Job | None, *, is_begun: bool) -> str:
    """How far a job is that has not done its part."""
    if not is_begun:
        return "not reached" if submission.is_final else "not yet"
    if job is None:  # forgotten since
        return "failed" if submission.is_final else "unknown"
    is_early = job.status == Job.Status.QUEUED and job.run_at > timezone.now()
    return "waiting" if is_early else job.status


def _waits_for(job: Job | None) -> list[Any]:
    """What keeps a job from having done its part, and what it said last."""
    if job is None:
        return []
    error = job.error if isinstance(job.error, dict) else {}
    said = error.get("message") or error.get("code") or ""
    if job.status == Job.Status.RUNNING:
        return [f"Attempt {job.attempt} of {job.max_attempts} is at it.", said and f"Before: {said}"]
    if job.status == Job.Status.QUEUED:
        is_early = job.run_at > timezone.now()
        when = f"Next try in {span(job.run_at - timezone.now())}" if is_early else "Due now"
        return [f"{when}, attempt {job.attempt + 1} of {job.max_attempts}.", said, _until(job)]
    return [said]


def _until(job: Job) -> str:
    left = job.expires_at - timezone.now() if job.expires_at else timedelta(0)
    return f"It is given up in {span(left)}." if left > timedelta(0) else ""


def _retries(count: int) -> list[str]:
    return [f"Tried again {count} time{'s' if count > 1 else ''}."] if count else []


def _seconds(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
