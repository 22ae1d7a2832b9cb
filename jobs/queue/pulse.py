"""Whether a cluster's processes still work together, and the beat that says so to the world.

django-q2's processes talk through pipes with locks, and a process that is killed while it holds one blocks the
others for ever: all of them live and nothing runs. So tickets are timed on their way round, from the pusher
over a worker to the monitor, and a cluster whose tickets come back no more stops beating. A supervisor
(`manage.py up`, or a service manager that asks `manage.py cluster_health`) then starts it anew.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import Error, connection, transaction

from config.logging import HOSTNAME
from jobs.models import Cluster, Job
from jobs.statements import run

logger = logging.getLogger(__name__)

_PROC = Path("/proc")  # Linux's

BEAT_EVERY_SECONDS = 1.0
# A part that has given no sign for so long is taken for stuck.
STUCK_AFTER_SECONDS = 10.0
# So many beats running a problem must have stood before it is told.
TOLD_AFTER_BEATS = 3
# A round of the beat that took longer was not at work: the host was frozen, or the database slow.
FROZEN_AFTER_SECONDS = 3.0
# What the database has not answered by then, it is taken to be away for: somebody may have locked a table.
STATEMENT_SECONDS = 3.0
# How often the records of clusters are looked through that have ended without a word.
TIDY_EVERY_BEATS = 60


class Pulse:
    """When the parts of one cluster were last seen to work.

    Made by the sentinel before it forks, so that all of its children share the memory; times are those of
    time.monotonic(), which is the host's. There is no lock that a killed process could leave held: each time is
    one aligned machine word with one writer, but for `forgive`, which only ever makes things look better.
    """

    GUARDED, LOOKED, ASKED, ANSWERED = range(4)

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.sentinel_pid = os.getpid()
        self.main_pid = os.getppid()
        self._times = memoryview(mmap.mmap(-1, 4 * 8)).cast("d")
        # The beating thread's own.
        self._beats = self._bad_beats = 0
        self.forgive()

    def guarded(self) -> None:
        """The sentinel has looked after its processes."""
        self._times[self.GUARDED] = time.monotonic()

    def looked(self) -> None:
        """The pusher is about to look for work."""
        self._times[self.LOOKED] = time.monotonic()

    def asked(self) -> None:
        """The pusher sends a ticket round; what is timed is the oldest that nothing has come back after."""
        if self._times[self.ANSWERED] >= self._times[self.ASKED]:
            self._times[self.ASKED] = time.monotonic()

    def answered(self) -> None:
        """A ticket has come back to the monitor."""
        self._times[self.ANSWERED] = time.monotonic()

    def forgive(self) -> None:
        """Count from now: what delayed them was not their fault."""
        for sign in (self.GUARDED, self.LOOKED, self.ASKED, self.ANSWERED):
            self._times[sign] = time.monotonic()

    def problem(self) -> str:
        """What is wrong with the cluster, in a sentence; empty when nothing is."""
        now = time.monotonic()
        guarded_ago, looked_ago, asked_ago, answered_ago = (now - sign for sign in self._times)
        if guarded_ago > STUCK_AFTER_SECONDS:
            return f"Its sentinel has not looked after its processes for {guarded_ago:.0f} s."
        if asked_ago < answered_ago:
            if asked_ago > STUCK_AFTER_SECONDS and self._has_idle_workers():
                return (
                    f"No ticket has come round for {asked_ago:.0f} s, though not all of its workers are busy."
                )
        elif looked_ago > STUCK_AFTER_SECONDS:
            return f"Its pusher has not looked for work for {looked_ago:.0f} s."
        return ""

    def _has_idle_workers(self) -> bool:
        """Whether fewer of its processes hold leases than it has workers.

        Raises django.db.Error while somebody locks the job table: then the workers, too, wait for it to claim.
        """
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE jobs_job IN ROW EXCLUSIVE MODE")
        workers = Job.objects.running_at(f"{self.queue}@{HOSTNAME}:").values_list("worker", flat=True)
        pids = {worker.rpartition(":")[2] for worker in workers}
        busy = [pid for pid in pids if pid.isdecimal() and is_child(int(pid), self.sentinel_pid)]
        own = settings.Q_CLUSTER["ALT_CLUSTERS"].get(self.queue, {})
        return len(busy) < int(own.get("workers", settings.CLUSTER_WORKERS))

    def beat(self) -> None:
        """Say that the cluster works, or what has been wrong with it for a while."""
        with short_transaction():
            problem = self.problem()
        self._bad_beats = self._bad_beats + 1 if problem else 0
        if self._bad_beats < TOLD_AFTER_BEATS:
            problem = ""
        else:
            logger.error("cluster is stuck", extra={"queue": self.queue, "problem": problem})
        with short_transaction():
            if self._beats % TIDY_EVERY_BEATS == 0:
                self._forget_the_dead()
            place = {"queue": self.queue, "hostname": HOSTNAME, "pid": self.main_pid}
            run("beat", {**place, "problem": problem})
        self._beats += 1

    def _forget_the_dead(self) -> None:
        """Delete this host's records that no living cluster keeps. One that is silent may live: it is wedged."""
        here = Cluster.objects.filter(hostname=HOSTNAME)
        gone = [pid for pid in here.silent().values_list("pid", flat=True) if not is_cluster(pid)]
        if self._beats == 0:
            gone.append(self.main_pid)  # what bears our number is a predecessor's
        here.filter(pid__in=gone).delete()

    def stopped(self) -> None:
        """Forget the cluster's record: it has ended as it should."""
        Cluster.objects.filter(hostname=HOSTNAME, pid=self.main_pid).delete()


def beat_for_ever(pulse: Pulse) -> None:
    """Beat once a second (the body of a thread of the pusher)."""
    began = time.monotonic()
    while True:
        time.sleep(BEAT_EVERY_SECONDS)
        before, began = began, time.monotonic()
        try:
            if began - before > FROZEN_AFTER_SECONDS:
                pulse.forgive()
            pulse.beat()
        except Error:
            logger.warning("cluster did not beat", exc_info=True)
            connection.close()
            pulse.forgive()  # nobody works while the database is away
        except Exception:
            # The loop must survive; what it can't say shows as silence.
            logger.exception("cluster did not beat")


@contextlib.contextmanager
def short_transaction() -> Iterator[None]:
    """A transaction that the database ends with an error when one of its statements takes too long.

    The limit is the transaction's and not the session's, which behind a pooler may be another's next.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {int(STATEMENT_SECONDS * 1000)}")
        yield


def is_alive(pid: int) -> bool:
    """Whether a process of this host lives."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def is_running(pid: int) -> bool:
    """Whether a process of this host lives, and is more than what a killed one leaves for its parent to read."""
    return bool(_parent_of(pid)) if _PROC.exists() else is_alive(pid)


def is_child(pid: int, parent_pid: int) -> bool:
    """Whether a process lives and is this parent's; without /proc only whether it lives."""
    return _parent_of(pid) == parent_pid if _PROC.exists() else is_alive(pid)


def _parent_of(pid: int) -> int | None:
    """The parent of a running process, by /proc."""
    try:
        # The name, in brackets, may hold anything; state and parent follow it.
        state, parent, *_ = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return int(parent) if state not in ("Z", "X") else None


def is_cluster(pid: int) -> bool:
    """Whether a process lives and is a cluster's, and no stranger that was given its number since.

    Without /proc only whether it lives.
    """
    if not _PROC.exists():
        return is_alive(pid)
    try:
        return b"qcluster" in (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False
