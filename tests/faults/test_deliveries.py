"""Deliveries under fire: receivers that misbehave in every way, and sending processes that are killed."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from tests import receivers
from tests.faults.conftest import Platform, eventually
from tests.receivers import Authority, Receiver

pytestmark = pytest.mark.faults

SETUP = """
import json
from jobs.tenancy.services import create_tenant
from webhooks.services.endpoints import create_endpoint
tenant = create_tenant("acme")
endpoints = {{}}
for name, url, types in json.loads({endpoints!r}):
    endpoint, _ = create_endpoint(tenant, url=url, description=name, event_types=types)
    endpoints[name] = str(endpoint.pk)
print(json.dumps(endpoints))
"""
TELL = """
from django.utils import timezone
from jobs.models import Tenant
from webhooks.services.messages import Event, write_messages
tenant = Tenant.objects.get(slug="acme")
for number in range({count}):
    write_messages([Event(tenant_id=tenant.pk, type={type!r}, at=timezone.now(), data={{"number": number}})])
"""
IN_FLIGHT = 20


@pytest.fixture
def sending(platform: Platform) -> Platform:
    """A platform that may send to this machine, its database up."""
    platform.env |= {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "WEBHOOK_ALLOW_HTTP": "true"}
    platform.hold()
    return platform


def add_endpoints(platform: Platform, *endpoints: tuple[str, str, list[str]]) -> dict[str, str]:
    """Add endpoints by (name, url, event types); their ids by name."""
    script = SETUP.format(endpoints=json.dumps(endpoints))
    added: dict[str, str] = json.loads(platform.manage("shell", "-v", "0", "-c", script).splitlines()[-1])
    return added


def tell(platform: Platform, type_: str, count: int) -> None:
    platform.manage("shell", "-v", "0", "-c", TELL.format(type=type_, count=count))


def start_cluster(platform: Platform) -> subprocess.Popen[bytes]:
    return platform.start("manage.py", "qcluster", Q_CLUSTER_NAME="webhooks")


def memory_of(cluster: subprocess.Popen[bytes]) -> int:
    """Bytes that all of a cluster's processes have in memory."""
    everything = psutil.Process(cluster.pid).children(recursive=True)
    return sum(process.memory_info().rss for process in everything)


def kill_a_sender(platform: Platform) -> None:
    """SIGKILL a process that has something in flight."""
    eventually(lambda: any(map(kill, in_flight(platform))), within=90, what="something in flight")


def kill(pid: int) -> bool:
    """SIGKILL a process; False where it has gone already, or is dead and waits for its parent to notice."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def in_flight(platform: Platform) -> list[int]:
    """The processes that have begun to send something just now, in random order."""
    rows = platform.query(
        "SELECT DISTINCT split_part(worker, ':', 2)::int AS pid FROM webhooks_delivery "
        "WHERE status = 'sending' AND lease_expires_at > now() + interval '28 seconds'"
    )
    pids = [row["pid"] for row in rows]
    return random.sample(pids, len(pids))


def statuses(platform: Platform) -> Counter[str]:
    rows = platform.query("SELECT status, count(*) FROM webhooks_delivery GROUP BY status")
    return Counter({row["status"]: row["count"] for row in rows})


def test_a_hostile_receiver_ends_in_time_and_holds_up_nobody_else(sending: Platform) -> None:
    authority = Authority()
    sending.env["WEBHOOK_CA_FILE"] = str(authority.ca_file)
    hostile = {
        "never": (receivers.never, {"timed_out"}),
        "slow status": (receivers.slow_status(), {"timed_out"}),
        "slow body": (receivers.slow_body(500), {"http_status"}),
        "huge body": (receivers.huge_body(), {""}),
        "gzip bomb": (receivers.gzip_bomb(), {""}),
        "endless headers": (receivers.endless_headers(), {"invalid_response"}),
        "endless informational": (receivers.endless_informational(), {"timed_out", "invalid_response"}),
        "reset": (receivers.reset, {"connection_lost"}),
        "no HTTP": (receivers.say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), {"invalid_response"}),
        "redirect": (receivers.redirect("http://127.0.0.1:22/"), {"redirected"}),
        "gone": (receivers.gone(), {"gone"}),
        "too many": (receivers.too_many("90"), {"http_status"}),
    }
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(Receiver(behaviour)).url for name, (behaviour, _) in hostile.items()
        }
        expired = authority.server_context("127.0.0.1", is_expired=True)
        urls["expired TLS"] = stack.enter_context(Receiver(tls=expired)).url
        good = stack.enter_context(Receiver())
        ids = add_endpoints(
            sending,
            ("good", good.url, ["job.completed"]),
            *((name, url, ["job.failed"]) for name, url in urls.items()),
        )
        tell(sending, "job.failed", 25)  # more than may be in flight at each
        tell(sending, "job.completed", 1)
        cluster = start_cluster(sending)
        eventually(lambda: good.requests, within=30, what="the first delivery")
        before = memory_of(cluster)

        for _ in range(8):
            tell(sending, "job.completed", 2)
        eventually(
            lambda: (
                not sending.query(
                    "SELECT 1 FROM webhooks_delivery WHERE status = 'sending' AND attempt_count = 1"
                )
            ),
            within=60,
            what="the end of every first attempt",
        )
        after = memory_of(cluster)

    eventually(
        lambda: (
            not sending.query(
                "SELECT 1 FROM webhooks_delivery WHERE endpoint_id = %s AND status <> 'delivered'",
                ids["good"],
            )
        ),
        within=15,
        what="the last delivery to the good receiver",
    )
    delays = sending.query(
        "SELECT extract(epoch FROM d.delivered_at - d.created_at) AS seconds FROM webhooks_delivery d "
        "WHERE d.endpoint_id = %s ORDER BY d.id OFFSET 1",
        ids["good"],
    )
    assert len(delays) == 16
    assert max(float(row["seconds"]) for row in delays) < 5.0  # the hostile take 15
    expected = {name: reasons for name, (_, reasons) in hostile.items()} | {"expired TLS": {"tls_failed"}}
    for name, reasons in expected.items():
        attempts = sending.query(
            "SELECT reason, duration_ms FROM webhooks_attempt WHERE endpoint_id = %s", ids[name]
        )
        assert attempts, name
        assert {attempt["reason"] for attempt in attempts} <= reasons, name
        assert max(attempt["duration_ms"] for attempt in attempts) < 17_000, name
    assert after - before < 100_000_000  # of all its processes together


def test_a_sending_process_killed_again_and_again_loses_nothing(sending: Platform, is_long: bool) -> None:
    kills, messages = (100, 1_600) if is_long else (20, 500)
    with Receiver(receivers.after(0.3, receivers.answer(200))) as receiver:
        add_endpoints(sending, *((f"endpoint {number}", receiver.url, []) for number in range(5)))
        tell(sending, "job.completed", messages)
        cluster = start_cluster(sending)
        eventually(lambda: receiver.requests, within=30, what="the first delivery")

        for _ in range(kills):
            kill_a_sender(sending)
            time.sleep(0.2)
        eventually(lambda: statuses(sending).keys() == {"delivered"}, within=240, what="the last delivery")
        cluster.kill()  # for what its killed processes held django-q2 would wait

    assert statuses(sending)["delivered"] == messages * 5
    rows = sending.query(
        "SELECT d.id, d.message_id, d.attempt_count, "
        "count(a.id) FILTER (WHERE a.outcome = 'unknown') AS unknown, "
        "count(a.id) FILTER (WHERE a.outcome = 'delivered') AS delivered "
        "FROM webhooks_delivery d JOIN webhooks_attempt a ON a.delivery_id = d.id GROUP BY d.id"
    )
    assert {row["delivered"] for row in rows} == {1}
    assert all(row["attempt_count"] == row["unknown"] + 1 for row in rows)
    unknown = sum(row["unknown"] for row in rows)
    assert 0 < unknown <= kills * 5 * IN_FLIGHT  # what one process had in flight, once a kill
    received = Counter(request.headers["webhook-id"] for request in receiver.requests)
    allowed: Counter[str] = Counter()
    for row in rows:
        allowed[f"msg_{row['message_id'].hex}"] += row["attempt_count"]
    assert all(5 <= received[key] <= allowed[key] for key in allowed)


def test_a_process_that_is_asked_to_stop_finishes_what_is_in_flight(sending: Platform) -> None:
    with Receiver(receivers.after(2, receivers.answer(200))) as receiver:
        add_endpoints(sending, ("slow", receiver.url, []))
        tell(sending, "job.completed", 10)
        cluster = start_cluster(sending)
        eventually(lambda: len(receiver.requests) == 10, within=30, what="ten in flight")

        cluster.terminate()
        cluster.wait(30)

    attempts: list[dict[str, Any]] = sending.query("SELECT outcome FROM webhooks_attempt")
    assert [attempt["outcome"] for attempt in attempts] == ["delivered"] * 10
    assert not any("failed" in line["msg"] for line in sending.lines())


def test_a_database_that_goes_away_costs_no_delivery(sending: Platform) -> None:
    with Receiver(receivers.after(0.5, receivers.answer(200))) as receiver:
        add_endpoints(sending, ("slow", receiver.url, []))
        tell(sending, "job.completed", 60)
        start_cluster(sending)
        eventually(lambda: receiver.requests, within=30, what="the first delivery")

        for _ in range(5):
            sending.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'affidavit%%' AND pid <> pg_backend_pid()"
            )
            time.sleep(0.3)
        eventually(lambda: statuses(sending).keys() == {"delivered"}, within=60, what="the last delivery")

    assert statuses(sending)["delivered"] == 60
