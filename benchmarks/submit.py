"""How many jobs the API takes in a second, how long a caller waits, and what a miniapp's request adds to it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from benchmarks.database import empty_tables, query
from benchmarks.jobs import the_tenant
from benchmarks.processes import ROOT, web
from jobs.tenancy.services import create_api_key

CONNECTIONS = 16
PLAIN: dict[str, Any] = {
    "service_required": "painting",
    "payload": {
        "prompt": "A lighthouse on a cliff at dusk, seen from the sea, in the manner of an old travel poster, "
        "with wide flat areas of colour, a low sun behind thin clouds and gulls over the breakers",
        "negative_prompt": "text, watermark, frame, people",
        "width": 1024,
        "height": 1536,
        "steps": 30,
        "guidance": 7.5,
        "seed": 8405113297,
        "sampler": "dpmpp_2m_karras",
        "output": {"format": "png", "metadata": True, "upload": "artifacts/lighthouse-0001.png"},
        "palette": ["#0b1d33", "#20466b", "#d98e4a", "#f3d9a4", "#7d2e2a"],
    },
}
MINIAPP_REQ = {
    "user_id": "0x7f3a91c2d4e85b60a1b2c3d4e5f60718293a4b5c",
    "farcaster": {"fid": 284_113, "username": "lightkeeper", "client": "miniapp", "custody": "verified"},
    "collection_id": "6b0f5a52-5d6e-4b8e-9a56-0d6b1f0c9e11",
    "generation": {
        "title": "Lighthouse at dusk",
        "variables": {
            "place": "cliff over the sea",
            "hour": "dusk",
            "style": "travel poster",
            "variation": 3,
        },
        "count": 1,
    },
    "notification": {
        "token": "0198c1f2-77aa-7c33-9d5e-3c1a2b4d5e6f",
        "url": "https://miniapp.example.com/notify/lightkeeper",
        "locale": "en-GB",
    },
    "submitted_at": "2025-06-03T18:21:07.412Z",
}
WITH_MINIAPP_REQ = PLAIN | {"ctx": {"miniapp_req": MINIAPP_REQ}}


@dataclass(frozen=True)
class Round:
    """What one run of the load generator saw."""

    requests: int
    rps: float
    p95_ms: float


def measure(*, is_quick: bool) -> dict[str, float]:
    """Submit with and without a `ctx.miniapp_req`, in turns, to one web server."""
    seconds, rounds = (1.0, 1) if is_quick else (4.0, 5)
    empty_tables()
    _, key = create_api_key(the_tenant(), name="load", scopes=["submit"])
    plain, full = [], []
    with web() as port:
        warm_up = [_submit(port, key.text, body, seconds=1.0) for body in (PLAIN, WITH_MINIAPP_REQ)]
        for _ in range(rounds):
            plain.append(_submit(port, key.text, PLAIN, seconds=seconds))
            full.append(_submit(port, key.text, WITH_MINIAPP_REQ, seconds=seconds))
    _check_stored(sum(done.requests for done in warm_up + plain + full))
    rps = median(done.rps for done in plain)
    return {
        "submit_rps": rps,
        "submit_p95_ms": median(done.p95_ms for done in plain),
        "submit_ratio_miniapp_req": median(done.rps for done in full) / rps,
    }


def _submit(port: int, key: str, body: dict[str, Any], *, seconds: float) -> Round:
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(CONNECTIONS), str(seconds)]
    output = subprocess.check_output(command, input=_request(key, body), cwd=ROOT, timeout=seconds + 60)
    seen = json.loads(output)
    statuses, millis = seen["statuses"], seen["millis"]
    assert statuses.keys() == {"201"}, f"every answer should be 201: {statuses}"
    return Round(statuses["201"], len(millis) / seconds, quantiles(millis, n=20)[-1])


def _request(key: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        "POST /api/jobs HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "\r\n",
    )
    return "\r\n".join(head).encode() + content


def _check_stored(count: int) -> None:
    stored = query("SELECT count(*) FROM jobs_job WHERE service_required = 'painting'")[0]
    assert stored == count, f"{count} requests were answered with 201, {stored} jobs are stored"
