"""A worker to copy: name your services, write `work`, and run as many of it as you like.

    AFFIDAVIT_URL=http://127.0.0.1:8000 AFFIDAVIT_API_KEY=afd_… python worker.py

It takes one job at a time and needs nothing but Python.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL, KEY = os.environ["AFFIDAVIT_URL"].rstrip("/"), os.environ["AFFIDAVIT_API_KEY"]
NAME, SERVICES = f"{socket.gethostname()}:{os.getpid()}", ["count-words"]
HEARTBEAT_SECONDS = 10  # a lease lasts 30 s
stop = threading.Event()  # set when the job at hand was cancelled, or is not ours any more


def work(payload: dict[str, Any]) -> Any:
    """Replace this. Return the result, or raise to have the job tried again; when `stop` is set, raise soon."""
    for _ in range(payload.get("seconds", 0)):
        if stop.wait(1):  # as time.sleep(1), but it ends at once
            raise InterruptedError("stopped")
    return {"words": len(payload["text"].split())}


def perform(job: dict[str, Any]) -> None:
    """Work in a thread, keep the lease alive meanwhile, and say how it ended."""
    path, lease = f"/api/jobs/{job['id']}", {"lease_token": job["lease_token"]}
    stop.clear()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work, job["payload"])
        try:
            while not wait([working], HEARTBEAT_SECONDS).done:
                answer = call(f"{path}/heartbeat", **lease)
                if answer is None or answer["cancel_requested"]:
                    stop.set()
        finally:
            stop.set()  # at Ctrl-C, too
    try:
        answer = call(f"{path}/complete", **lease, result=working.result())
    except Exception as error:  # a job that was cancelled ends as cancelled, whatever is said here
        problem = {"code": type(error).__name__, "message": str(error)[:1000]}
        answer = call(f"{path}/fail", **lease, error=problem, retryable=True)
    print(job["id"], answer["status"] if answer else "dropped: another worker has it", flush=True)


def call(path: str, **body: Any) -> Any:
    """POST, again and again until there is an answer; None says that the job's lease is lost."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    while True:
        pause = 2.0
        try:
            with urlopen(Request(URL + path, json.dumps(body).encode(), headers), timeout=40) as answer:
                return json.load(answer)
        except HTTPError as refusal:
            if refusal.code == 409:
                return None
            if refusal.code != 429 and refusal.code < 500:
                raise
            pause = float(refusal.headers.get("Retry-After", pause))
        except (OSError, HTTPException) as error:
            print("no answer, asking again:", error, flush=True)
        time.sleep(pause)


def main() -> None:
    while True:
        claim = call("/api/workers/claim", worker_id=NAME, services=SERVICES, wait_seconds=20)
        for job in claim["jobs"]:
            perform(job)


if __name__ == "__main__":
    main()
