"""The e-mail that tells operators of new problems: plain text, with links into the monitor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.urls import reverse

from jobs.evaluator.alerts import WHAT_TO_DO
from jobs.models import ProblemType

NAMED_IN_SUBJECT = 3
PLATFORM = "the platform itself"


@dataclass(frozen=True)
class Problems:
    """New problems of one type of one tenant; `tenant` is its slug, empty for the platform's own work."""

    tenant: str
    problem_type: str
    count: int
    workflow_ids: list[str]
    job_ids: list[str]
    since: str

    @property
    def whose(self) -> str:
        return self.tenant or PLATFORM


@dataclass(frozen=True)
class ProblemMail:
    """The payload of `system.mail_problems`."""

    problems: list[Problems]


def send_problem_mail(mail: ProblemMail, *, job_id: UUID) -> int:
    """Send one e-mail of all these problems to PROBLEM_EMAIL_TO; to how many addresses.

    Raises what the mail server's client raises. A second run of one job sends the same message once more: its
    Message-ID is the job's, so that readers show one.
    """
    if not settings.PROBLEM_EMAIL_TO:
        return 0  # it was unset since
    ordered = sorted(mail.problems, key=lambda each: (each.whose, -each.count, each.problem_type))
    EmailMessage(
        subject=subject_of(ordered),
        body=body_of(ordered),
        from_email=settings.PROBLEM_EMAIL_FROM,
        to=settings.PROBLEM_EMAIL_TO,
        headers={"Message-ID": f"<{job_id}@{urlsplit(settings.PUBLIC_URL).hostname}>"},
    ).send()
    return len(settings.PROBLEM_EMAIL_TO)


def subject_of(problems: Sequence[Problems]) -> str:
    """`Affidavit: 12 new problems (acme: 10 notification_missing, …)`."""
    count = sum(each.count for each in problems)
    largest = sorted(problems, key=lambda each: -each.count)
    named = [f"{each.whose}: {each.count} {each.problem_type}" for each in largest[:NAMED_IN_SUBJECT]]
    more = ["…"] if len(problems) > NAMED_IN_SUBJECT else []
    return f"Affidavit: {count} new problem{'' if count == 1 else 's'} ({', '.join(named + more)})"


def body_of(problems: Sequence[Problems]) -> str:
    """Tenant by tenant, each type with where to look and what to do. `problems` are in the tenants' order."""
    blocks = []
    for whose, theirs in groupby(problems, key=lambda each: each.whose):
        blocks.append(f"{whose}\n{'=' * len(whose)}")
        blocks += [_block(each) for each in theirs]
    return "\n\n".join([*blocks, "Each type of problem of a tenant is told of once an hour at most.\n"])


def _block(each: Problems) -> str:
    lines = [f"{each.count} × {each.problem_type}, since {each.since[:16].replace('T', ' ')} UTC"]
    lines.append(f"  {WHAT_TO_DO[ProblemType(each.problem_type)]}")
    if each.workflow_ids:
        lines += _named("workflow", each, each.workflow_ids)
    if each.job_ids:
        lines += _named("job", each, each.job_ids)
    return "\n".join(lines)


def _named(model: str, each: Problems, ids: Sequence[str]) -> list[str]:
    """The list of the monitor that shows them all, and some of their names."""
    # The filters of the lists: jobs.admin.filters.TenantFilter takes a slug, or this for none.
    query = urlencode({"problem_type": each.problem_type, "tenant": each.tenant or "-"})
    url = f"{settings.PUBLIC_URL}{reverse(f'admin:jobs_{model}_changelist')}?{query}"
    return [f"  {url}", *(f"  - {name}" for name in ids)]
