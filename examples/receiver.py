"""A webhook receiver to copy: it verifies, answers at once, and does the work later.

    WEBHOOK_SECRET=whsec_… python receiver.py 9000

It needs nothing but Python. Behind a framework keep `verify` and `seen`, and hand them the raw body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ.get("WEBHOOK_SECRET", "")
TOLERANCE_SECONDS = 300
LARGEST_BODY = 1_048_576
seen: set[str] = set()  # in a table of yours, with a unique index: a delivery may come twice


def verify(headers: Message | dict[str, str], body: bytes, secret: str = SECRET) -> str | None:
    """The `webhook-id` of a call that is really from the platform, else None. `body` is as it came, unparsed."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return None
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    # A list: while a secret is being rotated, each signs.
    given = headers.get("webhook-signature", "").encode().split(b" ")
    return webhook_id if any(hmac.compare_digest(expected, one) for one in given) else None


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        if length > LARGEST_BODY:
            return self.answer(413)
        body = self.rfile.read(length)
        webhook_id = verify(self.headers, body)
        if webhook_id is None:
            return self.answer(401)
        if webhook_id not in seen:
            seen.add(webhook_id)
            event = json.loads(body)
            print(event["type"], event["workflow_id"], event["data"])  # yours: store it, work on it later
        return self.answer(200)  # within 15 seconds, also for what came before

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
