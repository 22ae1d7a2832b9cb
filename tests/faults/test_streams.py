"""Whoever watches sees every event once and in order, however often the connection is cut."""

from __future__ import annotations

import random

import httpx
import pytest

from tests.faults.conftest import Platform
from tests.faults.watching import Watcher

pytestmark = pytest.mark.faults

CUTS = 50
MOST_BYTES = 2_000  # of one connection: from none of an event to a few, and mostly in the midst of one


def test_a_client_that_is_cut_off_fifty_times_misses_nothing(platform: Platform) -> None:
    url = platform.start_up()
    platform.manage("create_tenant", "acme")
    key = platform.manage("create_api_key", "acme", "--name", "t", "--scopes", "submit,read,manage")
    api = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=40)
    job = api.post("/api/jobs", json={"kind": "test.talk", "payload": {"seconds": 0.01}}).json()["id"]
    watcher = Watcher(f"{url}/api/jobs/{job}/events", key)
    chance = random.Random(CUTS)

    for _ in range(CUTS):
        assert not watcher.connect(most_bytes=chance.randint(1, MOST_BYTES))
    assert platform.job(job)["status"] == "running"
    assert api.post(f"/api/jobs/{job}/cancel", json={}).status_code == 200
    while not watcher.connect():
        pass  # the platform has let it go before the end

    stored = platform.query("SELECT id, type, data FROM jobs_event WHERE job_id = %s ORDER BY id", job)
    told = [one for one in watcher.seen if one.id.isdigit()]
    assert [(int(one.id), one.event) for one in told] == [(row["id"], row["type"]) for row in stored]
    lines = [line for data in watcher.named("log") for line in data["lines"]]
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
    assert len(lines) > CUTS
    assert watcher.named("end") == [{"status": "cancelled"}]
    assert not watcher.named("reset")
    api.close()
