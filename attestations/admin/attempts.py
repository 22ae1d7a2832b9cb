"""The attempts of a job as its page tells of them: who was at it, what came of it, and whether that is attested."""

from __future__ import annotations

from typing import Any

from attestations.forensics import ended_at_of
from attestations.models import Attestation
from jobs.admin.displays import badge, duration_of, moment, page_url, span
from jobs.forensics.moments import error_of
from jobs.models import Job

ATTEMPTS_MAX = 20  # the latest; each is read whole, to see whether it is as it was attested


def attempt_rows(job: Job) -> list[dict[str, Any]]:
    """The latest attempts, the last first: by their attestations, and the one under way by the job."""
    attested = Attestation.objects.filter(job=job).order_by("-retry_attempt", "-id")[:ATTEMPTS_MAX]
    rows = [_attested(attestation) for attestation in attested]
    known = {row["number"] for row in rows}
    if job.attempt and job.attempt not in known:
        rows.insert(0, _unattested(job))
    return rows


def _attested(attestation: Attestation) -> dict[str, Any]:
    data = attestation.attestation_data if isinstance(attestation.attestation_data, dict) else {}
    error = error_of(data.get("error")) if attestation.status != Attestation.Status.COMPLETED else None
    began_at, ended_at = attestation.started_at, ended_at_of(data) or attestation.created_at
    return {
        "number": attestation.retry_attempt + 1,
        "worker": attestation.worker_id,
        "began": moment(began_at),
        "took": span(ended_at - began_at) if began_at else "",
        "badge": badge(attestation.status),
        "error": error,
        "url": page_url(attestation),
        "key": attestation.attestation_key,
        "intact": badge("intact" if attestation.is_intact else "altered"),
    }


def _unattested(job: Job) -> dict[str, Any]:
    """The last attempt where nothing attests it: it is under way, or its attestation has expired."""
    took = duration_of(job)
    is_running = job.status == Job.Status.RUNNING
    return {
        "number": job.attempt,
        "worker": job.worker,
        "began": moment(job.started_at),
        "took": span(took) if took is not None else "",
        "badge": badge(job.status if is_running or job.is_final else "failed"),
        "error": None if is_running else error_of(job.error),
        "url": "",
        "key": "when it ends" if is_running else "none is kept",
        "intact": "",
    }
