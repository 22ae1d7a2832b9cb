"""The pulse of a cluster: what it takes for stuck, and what the world is told."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from config.logging import HOSTNAME
from jobs.models import Cluster
from jobs.queue import pulse as pulse_module
from jobs.queue.pulse import Pulse
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


@pytest.fixture
def pulse(clock: Clock) -> Pulse:
    """A pulse as the pusher has it: this process's parent is the sentinel."""
    pulse = Pulse("default")
    pulse.sentinel_pid, pulse.main_pid = os.getppid(), os.getpid()
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


def test_a_cluster_whose_workers_are_all_busy_is_well(pulse: Pulse, clock: Clock) -> None:
    pulse.asked()
    pass_seconds(pulse, clock, 60, is_looking=False)
    make_job(status="running", worker=f"default@{HOSTNAME}:{os.getpid()}")
    assert pulse.problem() != ""
    make_job(status="running", worker=f"default@{HOSTNAME}:{os.getppid()}")

    assert pulse.problem() == ""


def test_a_worker_that_has_died_is_not_busy(pulse: Pulse, clock: Clock) -> None:
    pulse.asked()
    pass_seconds(pulse, clock, 60, is_looking=False)
    for pid in (os.getpid(), 2**22 + 1):  # above any pid Linux gives
        make_job(status="running", worker=f"default@{HOSTNAME}:{pid}")

    assert pulse.problem() != ""


def test_a_sentinel_that_guards_no_more_is_a_problem(pulse: Pulse, clock: Clock) -> None:
    clock.now += 11
    pulse.looked()

    assert "sentinel has not looked" in pulse.problem()


def test_a_pusher_that_hangs_is_a_problem(pulse: Pulse, clock: Clock) -> None:
    pass_seconds(pulse, clock, 11, is_looking=False)

    assert "pusher has not looked" in pulse.problem()


def test_an_orphan_says_that_its_sentinel_has_died(pulse: Pulse) -> None:
    pulse.sentinel_pid = 1 if os.getppid() != 1 else 2

    assert pulse.problem() == "Its sentinel has died."


def test_what_delayed_everybody_is_forgiven(pulse: Pulse, clock: Clock) -> None:
    pulse.asked()
    clock.now += 60

    pulse.forgive()

    assert pulse.problem() == ""


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
    pulse.beat()
    before = Cluster.objects.get().beat_at
    clock.now += 11

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
    assert Cluster.objects.get().pid == os.getpid()


def test_a_cluster_that_has_stopped_leaves_no_record(pulse: Pulse) -> None:
    pulse.beat()

    pulse.stopped()

    assert not Cluster.objects.exists()
