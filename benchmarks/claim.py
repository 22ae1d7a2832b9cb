"""What a claim costs beside a million jobs that have ended, against one in a table with little but its queue."""

from __future__ import annotations

import random
import sys
import time
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles

from django.db import connection, connections

from benchmarks.database import database_beside, empty_tables, settle_tables, using
from benchmarks.jobs import KIND
from jobs.models import Tenant
from jobs.models.jobs import PLATFORM
from jobs.queue.claim import claim_in_house, claim_remote, first_in_turn
from jobs.queue.handlers import get_handler

FILL = (Path(__file__).parent / "sql" / "fill_jobs.sql").read_text()
TENANTS = 20
CLAIMS = 50  # of each sort in a round
WARM_UP = 12  # psycopg prepares a statement at its sixth run, PostgreSQL settles the plan five runs later
SIZES = {"light": get_handler(KIND).batch_size, "heavy": 1, "remote": 10}  # jobs a claim
QUEUES = {"light": "default", "heavy": "proof-generation"}
FEW = 2 * (WARM_UP + CLAIMS) * SIZES["light"]  # enough for a round: every other job is a light one


class Table:
    """The job table of the database that Django's connection leads to, and how long its claims took."""

    def __init__(self) -> None:
        self.p95s: dict[str, list[float]] = {sort: [] for sort in SIZES}  # by round
        self._database = connections["default"]
        self._tenants = cycle([Tenant.objects.create(slug=f"bench-{n}").pk for n in range(TENANTS)])
        self._served = dict.fromkeys(QUEUES, PLATFORM)

    def fill(self, *, ended: int, queued: int) -> None:
        """Forget all work; add jobs that have ended and jobs that are due, of every sort and tenant."""
        with using(self._database), connection.cursor() as cursor:
            empty_tables()
            cursor.execute(FILL, {"ended": ended, "queued": queued})
            settle_tables()

    def claim(self, sort: str) -> float:
        """Claim once and return the milliseconds it took."""
        with using(self._database):
            began = time.perf_counter()
            if sort == "remote":
                rows = claim_remote(next(self._tenants), ["painting"], "bench", limit=SIZES[sort])
            else:
                rows = claim_in_house(QUEUES[sort], "bench", after=self._served[sort])
                self._served[sort] = first_in_turn(rows, self._served[sort])
            millis = (time.perf_counter() - began) * 1000
        assert len(rows) == SIZES[sort], f"a {sort} claim got {len(rows)} jobs"
        return millis


def measure(*, is_quick: bool) -> dict[str, float]:
    """Claim from a full table and a bare one in turns; the bare one is filled anew for every round.

    A claim is what the runner or the workers' API does: the look for limits, the claim and its durable commit.
    """
    ended, queued, rounds = (20_000, FEW, 1) if is_quick else (1_000_000, 100_000, 5)
    full = Table()
    full.fill(ended=ended, queued=queued)
    with database_beside():
        bare = Table()
        for _ in range(rounds):
            bare.fill(ended=0, queued=FEW)
            for sort in SIZES:
                _claim_in_turns(sort, [full, bare])
    p95s = {sort: (median(full.p95s[sort]), median(bare.p95s[sort])) for sort in SIZES}
    for sort, (in_full, in_bare) in p95s.items():
        print(f"  {sort}: p95 {in_full:.1f} ms, bare {in_bare:.1f} ms", file=sys.stderr)
    in_full, in_bare = p95s["light"]
    return {"claim_p95_ratio_1m": in_full / in_bare}


def _claim_in_turns(sort: str, tables: list[Table]) -> None:
    for _ in range(WARM_UP):
        for table in tables:
            table.claim(sort)
    millis: dict[Table, list[float]] = {table: [] for table in tables}
    for _ in range(CLAIMS):
        for table in random.sample(tables, len(tables)):
            millis[table].append(table.claim(sort))
    for table in tables:
        table.p95s[sort].append(quantiles(millis[table], n=20)[-1])
