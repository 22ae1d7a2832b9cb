"""Keeps what the monitor reads: folds tallies into rollups, and looks at the queues now and then."""

from __future__ import annotations

import time
from datetime import timedelta

from django.db import connection, transaction
from django.db.models.functions import Now

from jobs.models import QueueGauge
from jobs.models.rollups import EVERYONE
from jobs.statements import run

GRAINS = (60, 600, 3_600)  # seconds
LOT = 10_000  # tallies that one fold takes
FOLDS_MAX = 10  # in one turn: who folds has the sweep to do as well
FOLD_LOCK = 0xF01D  # advisory locks: one process at a time over all hosts
SAMPLE_LOCK = 0x5A3E
SAMPLE_EVERY_SECONDS = 5.0
SAMPLE_PAUSE = 20  # times what a look has cost: a long queue is looked at less often


def fold() -> int:
    """Fold what has been counted, a bounded lot of it, into rollups and groups of errors; how many tallies.

    None while another process does.
    """
    with transaction.atomic():
        if not _is_ours(FOLD_LOCK):
            return 0
        params = {"limit": LOT, "grains": list(GRAINS), "everyone": EVERYONE}
        folded: int = run("fold_tallies", params)[0].folded
        return folded


def sample_queues() -> None:
    """Note what every queue and service has to do; nothing while another process does."""
    with transaction.atomic():
        if _is_ours(SAMPLE_LOCK):
            run("sample_queues", {})


class Upkeep:
    """What one process does of this, turn by turn, about once a second."""

    def __init__(self) -> None:
        self._pause = SAMPLE_EVERY_SECONDS
        self._not_before = 0.0

    def turn(self) -> None:
        """Fold what there is, and look at the queues when that is due."""
        for _ in range(FOLDS_MAX):
            if fold() < LOT:
                break
        if time.monotonic() >= self._not_before and not self._was_sampled():
            self._sample()

    def _sample(self) -> None:
        began = time.monotonic()
        sample_queues()
        ended = time.monotonic()
        self._pause = max(SAMPLE_EVERY_SECONDS, SAMPLE_PAUSE * (ended - began))
        self._not_before = ended + self._pause

    def _was_sampled(self) -> bool:
        """Whether another process has looked at the queues within this one's pause."""
        return QueueGauge.objects.filter(sampled_at__gt=Now() - timedelta(seconds=self._pause)).exists()


def _is_ours(lock: int) -> bool:
    with connection.cursor() as cursor:
        # A host that freezes in here must not hold the lock until TCP gives it up.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '10s'")
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
        is_ours: bool = cursor.fetchone()[0]
        return is_ours
