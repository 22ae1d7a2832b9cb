"""How fast base64 is taken out of a document, and what is left of a table that was full of it."""

from __future__ import annotations

import base64
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.utils import timezone

from attestations.models import Attestation
from benchmarks.database import empty_tables, query
from benchmarks.jobs import the_tenant
from jobs.hygiene.cleaning import Store, stores
from jobs.hygiene.sanitizer import sanitize_base64
from jobs.ids import uuid7
from jobs.services.cleaning import Report, clean_store, vacuum_store

ROUNDS = 7
PNG = b"\x89PNG\r\n\x1a\n"
PICTURE_BYTES = 300_000
ROW_PICTURES = 4
BATCH = 20
noise = random.Random(1)


def measure(*, is_quick: bool) -> dict[str, float]:
    """Clean documents in memory, then a table of attestations bloated by pictures, by what the command runs."""
    _check_hard_texts(2_000_000 if is_quick else 10_000_000)
    document = _document(pictures=4 if is_quick else 8)
    size = len(json.dumps(document))
    return {
        "sanitize_mb_per_s": _rate(document, size),
        "sanitize_shrink": _shrink(5_000_000 if is_quick else 269_000_000),
    }


def _picture(size: int = PICTURE_BYTES) -> str:
    return base64.b64encode(PNG + noise.randbytes(size)).decode()


def _document(*, pictures: int) -> dict[str, Any]:
    """An attestation's data as it was: the request and the answers with their pictures inside, and ordinary fields."""
    request = {
        "collection_id": str(uuid7()),
        "variables": {"prompt": "a fox in the snow, oil on canvas " * 10, "style": "realistic", "seed": 7},
        "reference": f"data:image/png;base64,{_picture()}",
    }
    outputs = [
        {
            "url": f"https://cdn.example.com/generations/{uuid7()}/output.png",
            "sha256": noise.randbytes(32).hex(),
            "preview": f"data:image/png;base64,{_picture()}" if number % 2 else _picture(),
            "parameters": {"steps": 30, "cfg": 7.5, "sampler": "euler", "size": [1024, 1024]},
        }
        for number in range(pictures - 1)
    ]
    lines = [f"step {number} of 30, {number * 0.41:.2f} s" for number in range(30)]
    return {
        "miniapp_req": {"request_body": request, "user_id": "user-1"},
        "emprops_req_payload": {"service_required": "comfyui", "payload": {"prompt": "a fox", "log": lines}},
        "result": {"outputs": outputs, "meta": {f"field-{number}": number / 7 for number in range(50)}},
    }


def _rate(value: Any, size: int) -> float:
    """Megabytes per second of JSON, the best of some rounds: noise from outside only ever slows one down."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        sanitize_base64(value)
        seconds.append(time.perf_counter() - began)
    return size / min(seconds) / 1e6


def _check_hard_texts(size: int) -> None:
    """Texts that a careless search would go through again and again: twice the text may take twice the time."""
    runs = _picture(size)
    hard: dict[str, Callable[[int], str]] = {
        "runs of 1,000 characters": lambda n: " ".join(runs[at : at + 1_000] for at in range(0, n, 1_000)),
        "runs of 1,030 characters": lambda n: " ".join(runs[at : at + 1_030] for at in range(0, n, 1_030)),
        "prose": lambda n: "The quick brown fox jumps over the lazy dog. " * (n // 45),
        "hex": lambda n: noise.randbytes(n // 2).hex(),
        "lines of 76 characters": lambda n: "\n".join(runs[at : at + 76] for at in range(0, n, 76)),
        "data URIs that are none": lambda n: "data:;base64," * (n // 13),
    }
    for name, make in hard.items():
        half, whole = make(size // 2), make(size)
        print(
            f"  {name}: {_rate(half, len(half)):,.0f} MB/s, twice as long {_rate(whole, len(whole)):,.0f} MB/s",
            file=sys.stderr,
        )


def _shrink(size: int) -> float:
    """The share of a table's document bytes that goes."""
    empty_tables()
    query("DELETE FROM jobs_cleaning")
    count = _fill(size)
    began = time.perf_counter()
    report = clean_store(_store(), batch=BATCH)
    seconds = time.perf_counter() - began
    _check(report, count)
    on_disk = vacuum_store(_store())
    print(
        f"  {count:,} attestations, {report.bytes_before / 1e6:,.0f} MB → {report.bytes_after / 1e6:,.2f} MB "
        f"in {seconds:.1f} s: {report.bytes_before / seconds / 1e6:,.0f} MB/s, {count / seconds:,.0f} rows/s; "
        f"on disk {report.disk_before / 1e6:,.0f} MB → {on_disk / 1e6:,.1f} MB",
        file=sys.stderr,
    )
    empty_tables()
    return report.reduction


def _store() -> Store:
    return next(store for store in stores if store.model is Attestation)


def _fill(size: int) -> int:
    """Write attestations of `size` bytes together; how many."""
    written = 0
    for count, attestation in enumerate(_attestations(), start=1):
        attestation.save(force_insert=True)
        written += len(json.dumps(attestation.attestation_data))
        if written >= size:
            return count
    raise AssertionError("there is no last attestation")


def _attestations() -> Iterator[Attestation]:
    tenant = the_tenant()
    while True:
        job_id = uuid7()
        attestation = Attestation(
            tenant=tenant,
            job_id=job_id,
            attestation_key=f"worker-completion:job-{job_id}",
            attestation_type=Attestation.Type.WORKER_COMPLETION,
            entity_type=Attestation.EntityType.JOB,
            worker_id="comfyui-gpu0",
            status=Attestation.Status.COMPLETED,
            attestation_data=_document(pictures=ROW_PICTURES),
            expires_at=timezone.now(),
        )
        attestation.digest = attestation.compute_digest()
        yield attestation


def _check(report: Report, count: int) -> None:
    """Raise AssertionError unless every row was cleaned, still is what its digest says, and kept the first one."""
    assert (report.rows, report.changed, report.refused) == (count, count, 0), report
    for attestation in Attestation.objects.iterator(chunk_size=100):
        assert attestation.is_intact, attestation
        assert attestation.original_digest, attestation
