"""How long the monitor's pages take the server, over a million jobs with two million attestations."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from attestations.models import Attestation
from benchmarks.database import query
from benchmarks.monitor_pages import Page, all_pages, restricted_pages
from config.memory import keep_for_ever
from jobs.admin.access.roles import OPERATOR
from jobs.models import Job, StaffTenant, Tenant

PAGES = Path(__file__).parent / "results" / "monitor_pages.txt"
WARM_UPS = 2
HOST = "localhost"

Timing = tuple[str, float, float, int]  # page, p50 and p95 in milliseconds, statements


def measure(*, is_quick: bool) -> dict[str, float]:
    """Seed a history and ask for each page over and over, in this process, so that no network is measured."""
    call_command("seed_demo", jobs=5_000 if is_quick else 1_000_000, yes=True)
    query("VACUUM ANALYZE")
    timings = measure_pages(rounds=3 if is_quick else 15)
    if not is_quick:
        write_table(timings)
    return {"admin_page_p95_ms": max(p95 for _, _, p95, _ in timings)}


def measure_pages(*, rounds: int) -> list[Timing]:
    """The pages as a superuser sees them, and some as the operator of one tenant does; the slowest first."""
    boss, operator = _boss(), _operator_of_one_tenant()
    _ask(boss, "/admin/")
    keep_for_ever()  # as a web process does
    timings = [_measure_page(boss, page, rounds) for page in all_pages()]
    timings += [_measure_page(operator, page, rounds) for page in restricted_pages()]
    return sorted(timings, key=lambda timing: -timing[2])


def _boss() -> Client:
    boss, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    return _client(boss)


def _operator_of_one_tenant() -> Client:
    operator, _ = User.objects.get_or_create(username="bench-operator", is_staff=True)
    operator.groups.set([Group.objects.get(name=OPERATOR)])
    tenant = Tenant.objects.get(slug="demo-harbour")
    StaffTenant.objects.update_or_create(user=operator, defaults={"tenant": tenant})
    return _client(operator)


def _client(user: User) -> Client:
    client = Client(SERVER_NAME=HOST)
    client.force_login(user)
    return client


def _measure_page(client: Client, page: Page, rounds: int) -> Timing:
    name, address = page
    with CaptureQueriesContext(connection) as statements:
        _ask(client, address)
        count = len(statements)  # the next request forgets them
    for _ in range(WARM_UPS - 1):
        _ask(client, address)
    took = sorted(_ask(client, address) for _ in range(rounds))
    timing = name, _share_of(took, 0.5), _share_of(took, 0.95), count
    print(_line(timing), file=sys.stderr)
    return timing


def _ask(client: Client, address: str) -> float:
    """The milliseconds until the page is there; of an export, until its first lot is."""
    began = time.perf_counter()
    answer: Any = client.get(address, follow=True)  # typed filters lead to an address of their own
    if answer.streaming:
        next(iter(answer.streaming_content), b"")
    took = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, f"{address} answers {answer.status_code}"
    answer.close()
    return took


def _share_of(took: Sequence[float], share: float) -> float:
    """The time that this share of the answers stays within."""
    return took[math.ceil(share * len(took)) - 1]


def _line(timing: Timing) -> str:
    return "{:<58} {:>8.1f} {:>8.1f} {:>5}".format(*timing)


def write_table(timings: Sequence[Timing]) -> None:
    """Write down all pages, the slowest first."""
    counts = f"{Job.objects.count():,} jobs, {Attestation.objects.count():,} attestations"
    head = "{:<58} {:>8} {:>8} {:>5}".format("page", "p50 ms", "p95 ms", "SQL")
    PAGES.write_text("\n".join([counts, "", head, *map(_line, timings)]) + "\n")
