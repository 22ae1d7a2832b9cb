"""The page with an EventSource that docs/streaming.md shows, in a real browser and from another origin."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from jobs.models import Event, Tenant, Workflow
from jobs.services.events import record_event
from jobs.services.workflows import cancel_workflow
from tests.factories import make_key, make_workflow
from tests.jobs.streams.test_web_process import Web
from tests.pages import code_in

pytestmark = pytest.mark.browser


class ClientsSite:
    """A client's own server: it has the page, and the key that the page is not to know."""

    def __init__(self, page: str, affidavit: str, key: str) -> None:
        self.tokens_made = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(200 if self.path == "/" else 204, "text/html", page.encode())

            def do_POST(self) -> None:
                site.tokens_made += 1
                # The first of them has expired when it is used.
                body = {"expires_in_seconds": 1 if site.tokens_made == 1 else 60}
                made = httpx.post(
                    f"{affidavit}/api/stream-tokens", json=body, headers={"Authorization": f"Bearer {key}"}
                )
                time.sleep(1.1 if site.tokens_made == 1 else 0)
                self.answer(200, "application/json", made.content)

            def answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.end_headers()
                if status == 200:
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    server = Web()
    yield server
    server.stop()


@pytest.fixture
def workflow(tenant: Tenant) -> Workflow:
    return make_workflow(tenant, workflow_id="my-workflow")


@pytest.fixture
def site(web: Web, workflow: Workflow) -> Iterator[ClientsSite]:
    (page,) = code_in("streaming.md", "html")
    affidavit = f"http://127.0.0.1:{web.port}"
    assert page.count("https://jobs.example.com") == 1
    page = page.replace("https://jobs.example.com", affidavit)
    site = ClientsSite(page, affidavit, make_key(workflow.tenant, "read")[1])
    yield site
    site.close()


def test_the_page_watches_with_tokens_and_goes_on_when_it_was_cut_off(
    chromium: Browser, site: ClientsSite, web: Web, workflow: Workflow
) -> None:
    page = chromium.new_page()
    record_event(workflow, Event.Type.LOG, {"lines": ["one"]})

    page.goto(site.url)
    log = page.locator("#log")
    expect(log).to_have_text("one\n", timeout=60_000)
    assert site.tokens_made == 2
    web.stop()
    record_event(workflow, Event.Type.LOG, {"lines": ["two"]})
    web.start()
    expect(log).to_have_text("one\ntwo\n", timeout=60_000)
    record_event(workflow, Event.Type.PROGRESS, {"progress": 40, "message": ""})
    record_event(workflow, Event.Type.LOG, {"lines": ["three"]})
    cancel_workflow(workflow, by="a test")

    expect(log).to_have_text("one\ntwo\nthree\n", timeout=60_000)
    expect(page).to_have_title("cancelled", timeout=60_000)
    assert page.evaluate("document.getElementById('progress').value") == 40
    page.close()
