"""The pulse of a cluster: what it takes for stuck, and what the world is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import Error, connection
from django.utils import timezone
from django_q.conf import Conf
from django_q.signing import SignedPackage

from config.logging import HOSTNAME
from jobs.models import Cluster, Tenant
from jobs.queue import draining, runner
from jobs.queue import pulse as pulse_module
from jobs.queue.broker import JobBroker
from jobs.queue.pulse import Pulse, beat_for_ever, is_alive
from tests.factories import make_job

pytestmark = pytest.mark.django_db


class Clock:
    """time.monotonic() that goes when it is told to."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pulse_module.time, "monotonic", clock)
    return clock


@pytest.fixture(scope="module")
def sleepers() -> Iterator[list[int]]:
    """The pids of two children of this process, with a cluster's name."""
    command = [sys.executable, "-c", "import time; time.sleep(600)", "qcluster"]
    processes = [subprocess.Popen(command) for _ in range(2)]
    yield [process.pid for process in processes]
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def pulse(clock: Clock, sleepers: list[int]) -> Pulse:
    """The pulse of a cluster whose sentinel is this process."""
    pulse = Pulse("default")
    pulse.main_pid = sleepers[0]
    clock.now += 1
    return pulse


def pass_seconds(pulse: Pulse, clock: Clock, seconds: float, *, is_looking: bool = True) -> None:
    """Let time pass in which the sentinel guards, and the pusher looks unless it is blocked."""
    clock.now += seconds
    pulse.guarded()
    if is_looking:
        pulse.looked()


def test_a_cluster_whose_tickets_come_back_is_well(pulse: Pulse, clock: Clock) -> None:
    for _ in range(5):
        pulse.asked()
        pass_seconds(pulse, clock, 8)
        pulse.answered()

    assert pulse.problem() == ""


def test_a_ticket_that_does_not_come_back_is_a_problem(pulse: Pulse, clock: Clock) -> None:
    pulse.asked()
    pass_seconds(pulse, clock, 9)
    pulse.asked()  # a later one does not make the first one younger
    assert pulse.problem() == ""
    pass_seconds(pulse, clock, 2, is_looking=False)

    assert "No ticket has come round for 11 s" in pulse.problem()


def test_a_cluster_whose_workers_are_all_busy_is_well(
    pulse: Pulse, clock: Clock, sleepers: list[int]
) -> None:
    pulse.asked()
    pass_seconds(pulse, clock, 60, is_looking=False)
    make_job(status="running", worker=f"default@{HOSTNAME}:{sleepers[0]}")
    assert pulse.problem() != ""
    make_job(status="running", worker=f"default@{HOSTNAME}:{sleepers[1]}")

    assert pulse.problem() == ""


# The second is above any pid Linux gives, the last a living process of another cluster.
@pytest.mark.parametrize("pid", ["", str(2**22 + 1), "9" * 30, str(os.getppid())])
def test_only_a_living_worker_of_this_cluster_is_busy(
    pulse: Pulse, clock: Clock, sleepers: list[int], pid: str
) -> None:
    pulse.asked()
    pass_seconds(pulse, clock, 60, is_looking=False)
    for name in (sleepers[0], pid):
        make_job(status="running", worker=f"default@{HOSTNAME}:{name}")

    assert pulse.problem() != ""


def test_a_tenants_worker_does_not_pass_for_one_of_the_cluster(
    pulse: Pulse, clock: Clock, sleepers: list[int], tenant: Tenant
) -> None:
    pulse.asked()
    pass_seconds(pulse, clock, 60, is_looking=False)
    for pid in sleepers:
        make_job(tenant, status="running", service_required="gpu", worker=f"default@{HOSTNAME}:{pid}")

    assert pulse.problem() != ""


def test_a_number_that_is_no_pid_is_nobodys() -> None:
    assert not is_alive(10**30)


def test_a_sentinel_that_guards_no_more_is_a_problem(pulse: Pulse, clock: Clock) -> None:
    clock.now += 11
    pulse.looked()

    assert "sentinel has not looked" in pulse.problem()


def test_a_pusher_that_hangs_is_a_problem(pulse: Pulse, clock: Clock) -> None:
    pass_seconds(pulse, clock, 11, is_looking=False)

    assert "pusher has not looked" in pulse.problem()


def test_what_delayed_everybody_is_forgiven(pulse: Pulse, clock: Clock) -> None:
    pulse.asked()
    clock.now += 60

    pulse.forgive()

    assert pulse.problem() == ""


@contextmanager
def locked(table: str, mode: str) -> Iterator[None]:
    """What a migration elsewhere does to a table."""
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN {mode} MODE")
        yield
        other.rollback()
    finally:
        other.close()


def test_workers_that_wait_for_a_lock_are_not_taken_for_stuck(
    pulse: Pulse, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse_module, "STATEMENT_SECONDS", 0.2)
    pulse.asked()
    pass_seconds(pulse, clock, 60, is_looking=False)

    with locked("jobs_job", "SHARE ROW EXCLUSIVE"), pytest.raises(Error, match="statement timeout"):
        pulse.beat()


def test_looking_for_work_does_not_wait_for_a_lock(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pulse_module, "STATEMENT_SECONDS", 0.2)
    monkeypatch.setattr(JobBroker, "_ensure_threads", lambda *args: None)
    broker = JobBroker("default")
    broker._issued_at = time.monotonic()
    broker._pulse._times[Pulse.ASKED] -= 60

    with locked("jobs_job", "ACCESS EXCLUSIVE"):
        assert broker.dequeue() is None

    broker._disconnect()
    assert "queue not looked into" in caplog.text
    assert broker._pulse.problem() == ""


class Enough(BaseException):
    """Ends a loop that goes on for ever."""


def test_a_host_that_was_frozen_is_forgiven(
    pulse: Pulse, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse.asked()
    naps = iter([60.0])

    def sleep(seconds: float) -> None:
        if not (nap := next(naps, 0)):
            raise Enough
        clock.now += nap

    monkeypatch.setattr(pulse_module.time, "sleep", sleep)

    with pytest.raises(Enough):
        beat_for_ever(pulse)

    assert pulse.problem() == ""
    assert Cluster.objects.get().is_beating


@pytest.fixture
def undrained() -> Iterator[None]:
    """This process as it was, whatever it is told."""
    max_rss = Conf.MAX_RSS
    yield
    draining.call_off()
    draining._is_leaving = False
    Conf.MAX_RSS = max_rss


def test_the_sentinel_decides_whether_its_cluster_drains(undrained: None) -> None:
    broker = JobBroker("default")

    def has_begun(status: object) -> bool:
        broker.set_stat("key", SignedPackage.dumps(SimpleNamespace(status=status)), 3)
        return draining.has_begun()

    assert [has_begun(Conf.STOPPING), has_begun(Conf.IDLE)] == [True, False]
    assert [has_begun(Conf.STOPPING), has_begun(Conf.WORKING)] == [True, False]


def test_a_worker_that_is_told_to_end_leaves_the_others_at_work(undrained: None) -> None:
    runner.leave(15, None)

    assert draining.has_begun()
    assert draining._byte[0] == 0


def health(queue: str = "default") -> str:
    out = StringIO()
    call_command("cluster_health", "--queue", queue, stdout=out)
    return out.getvalue()


def test_a_cluster_that_beats_is_healthy_and_one_that_does_not_is_not(pulse: Pulse, clock: Clock) -> None:
    with pytest.raises(CommandError, match="No cluster of the queue 'default'"):
        health()
    pulse.beat()
    assert health() == "working\n"
    with pytest.raises(CommandError, match="'webhooks'"):
        health("webhooks")

    Cluster.objects.update(beat_at=timezone.now() - timedelta(seconds=16))

    with pytest.raises(CommandError, match="has not beaten since"):
        health()


def test_a_cluster_may_be_given_time_to_get_well(db: None) -> None:
    began = time.monotonic()

    with pytest.raises(CommandError, match="No cluster"):
        call_command("cluster_health", "--wait", "0.6")

    assert time.monotonic() - began >= 0.6


def test_a_stuck_cluster_says_why_and_keeps_its_last_beat(pulse: Pulse, clock: Clock) -> None:
    clock.now += 11
    for _ in range(2):
        pulse.beat()
    before = Cluster.objects.get().beat_at
    assert health() == "working\n"  # it may pass

    pulse.beat()

    cluster = Cluster.objects.get()
    assert (cluster.beat_at, cluster.is_beating) == (before, False)
    with pytest.raises(CommandError, match="sentinel has not looked"):
        health()


def test_a_dead_clusters_record_does_not_count_and_goes(pulse: Pulse) -> None:
    Cluster.objects.create(
        queue="default", hostname=HOSTNAME, pid=2**22 + 1, beat_at=timezone.now() - timedelta(minutes=2)
    )

    pulse.beat()

    assert health() == "working\n"
    assert Cluster.objects.get().pid == pulse.main_pid


def test_a_stranger_with_a_dead_clusters_pid_does_not_count(pulse: Pulse) -> None:
    long_ago = timezone.now() - timedelta(minutes=2)
    Cluster.objects.create(queue="default", hostname=HOSTNAME, pid=1, beat_at=long_ago)

    pulse.beat()

    assert Cluster.objects.get().pid == pulse.main_pid


def test_a_wedged_neighbours_record_stays(pulse: Pulse, sleepers: list[int]) -> None:
    long_ago = timezone.now() - timedelta(minutes=2)
    Cluster.objects.create(queue="default", hostname=HOSTNAME, pid=sleepers[1], beat_at=long_ago)

    pulse.beat()

    assert Cluster.objects.count() == 2
    with pytest.raises(CommandError, match="has not beaten since"):
        health()


def test_the_record_of_a_predecessor_with_the_same_pid_goes(pulse: Pulse) -> None:
    long_ago = timezone.now() - timedelta(minutes=2)
    Cluster.objects.create(queue="webhooks", hostname=HOSTNAME, pid=pulse.main_pid, started_at=long_ago)

    pulse.beat()

    cluster = Cluster.objects.get()
    assert cluster.queue == "default"
    assert cluster.started_at > long_ago


def test_while_the_database_does_not_answer_no_cluster_is_called_ill(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse_module, "STATEMENT_SECONDS", 0.2)

    with locked("jobs_cluster", "ACCESS EXCLUSIVE"):
        assert "can't tell: the database is away" in health()


def test_a_cluster_that_has_stopped_leaves_no_record(pulse: Pulse) -> None:
    pulse.beat()

    pulse.stopped()

    assert not Cluster.objects.exists()
