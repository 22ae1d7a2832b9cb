"""A proxy before a node that answers some questions otherwise."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Asked with a method, its parameters and how often it was called (this call included): None for what the node says,
# `result` or `error` in a dict, a status with a body, or what turns the node's answer into another.
Lie = Callable[[str, Any, int], Any]


@contextmanager
def lying(upstream: str, lie: Lie) -> Iterator[str]:
    """The address of a node that answers as the one at `upstream`, but for the lies."""
    calls: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:  # noqa: N802, as http.server wants it
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            method = question["method"]
            calls[method] += 1
            status, body = _answer(upstream, question, lie(method, question.get("params"), calls[method]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _answer(upstream: str, question: dict[str, Any], said: Any) -> tuple[int, bytes]:
    if isinstance(said, tuple):
        return said
    if isinstance(said, dict):
        return 200, json.dumps({"jsonrpc": "2.0", "id": question["id"], **said}).encode()
    request = urllib.request.Request(
        upstream, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        body: bytes = response.read()
    return 200, json.dumps(said(json.loads(body))).encode() if callable(said) else body
