"""Whether a cluster's processes still work together, and the beat that says so to the world.

django-q2's processes talk through pipes with locks, and a process that is killed while it holds one blocks the
others for ever: all of them live and nothing runs. So tickets are timed on their way round, from the pusher
over a worker to the monitor, and a cluster whose tickets come back no more stops beating. A supervisor
(`manage.py up`, or a service manager that asks `manage.py cluster_health`) then starts it anew.
"""

from __future__ import annotations

import logging
import mmap
import os
import time

from django.conf import settings
from django.db import Error, connection

from config.logging import HOSTNAME
from jobs.models import Cluster, Job
from jobs.statements import run

logger = logging.getLogger(__name__)

BEAT_EVERY_SECONDS = 1.0
# A part that has given no sign for so long is taken for stuck.
STUCK_AFTER_SECONDS = 10.0


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
        """What is wrong with the cluster, in a sentence; empty when nothing is. Asks in the pusher."""
        now = time.monotonic()
        guarded_ago, looked_ago, asked_ago, answered_ago = (now - sign for sign in self._times)
        if os.getppid() != self.sentinel_pid:
            return "Its sentinel has died."
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
        """Whether fewer of its processes hold leases than it has workers."""
        workers = Job.objects.running_at(f"{self.queue}@{HOSTNAME}:").values_list("worker", flat=True)
        busy = {worker for worker in workers if is_alive(int(worker.rpartition(":")[2]))}
        return len(busy) < int(settings.CLUSTER_WORKERS)

    def beat(self) -> None:
        """Say that the cluster works, or what is wrong with it."""
        problem = self.problem()
        if problem:
            logger.error("cluster is stuck", extra={"queue": self.queue, "problem": problem})
        place = {"queue": self.queue, "hostname": HOSTNAME, "pid": self.main_pid}
        run("beat", {**place, "problem": problem})

    def stopped(self) -> None:
        """Forget the cluster's record: it has ended as it should."""
        Cluster.objects.filter(hostname=HOSTNAME, pid=self.main_pid).delete()


def beat_for_ever(pulse: Pulse) -> None:
    """Beat once a second (the body of a thread of the pusher)."""
    while True:
        time.sleep(BEAT_EVERY_SECONDS)
        try:
            pulse.beat()
        except Error:
            logger.warning("cluster did not beat", exc_info=True)
            connection.close()
            pulse.forgive()  # nobody works while the database is away
        except Exception:
            # The loop must survive; what it can't say shows as silence.
            logger.exception("cluster did not beat")


def is_alive(pid: int) -> bool:
    """Whether a process of this host lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
