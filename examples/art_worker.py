"""A remote worker that paints: the service `artgen`.

    AFFIDAVIT_API_KEY=afd_… python examples/art_worker.py --url http://127.0.0.1:8000 --worker-id art-1

It knows two operations. `{"operation": "paint", "prompt", "style"?, "seed"?, "width"?, "height"?}` paints a
picture; `{"operation": "frame", "image": URL, "title"?, "moulding"?}` frames one. Both results are
`{"url", "content_type", "width", "height", …}`. The protocol is in remote_worker.py, the art in painting/.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from painting import frame, paint, png_bytes, style_named
from PIL import Image
from remote_worker import JobFailed, Lease, Platform, Unauthorized, Worker, log

SIDES = range(64, 2049)
MAX_PROMPT_CHARS = 2_000
MAX_DOWNLOAD_BYTES = 32 * 1024 * 1024
MAX_PIXELS = 4096 * 4096
REPORT_SECONDS = 0.4  # progress is told no more often


class Artist:
    """Does what a payload asks for. `pace` is the least time a painting takes, so that one can watch it."""

    def __init__(self, platform: Platform, pace: float) -> None:
        self.platform, self.pace = platform, pace

    def perform(self, payload: Any, lease: Lease) -> dict[str, Any]:
        operation = payload.get("operation") if isinstance(payload, Mapping) else None
        if operation == "paint":
            return self.paint(payload, lease)
        if operation == "frame":
            return self.frame(payload, lease)
        raise JobFailed("invalid_payload", f"operation must be 'paint' or 'frame', not {operation!r}")

    def paint(self, payload: Mapping[str, Any], lease: Lease) -> dict[str, Any]:
        prompt = text_of(payload, "prompt", MAX_PROMPT_CHARS)
        style = style_named(text_of(payload, "style", 100, "realistic"))
        seed = integer_of(payload, "seed", range(-(2**63), 2**63), 0)
        width, height = (integer_of(payload, side, SIDES, 1024) for side in ("width", "height"))
        lease.write_log(f"Painting {prompt!r} as {style}, {width} x {height}, seed {seed}.")
        told = started = time.monotonic()

        def progress(percent: int, layer: str) -> None:
            nonlocal told
            lease.check(wait=started + self.pace * percent / 100 - time.monotonic())
            if percent < 100 and time.monotonic() - told >= REPORT_SECONDS:
                told = time.monotonic()
                lease.report(percent, layer)

        picture = paint(prompt, style, seed, width, height, progress)
        return {**hand_in(picture, "painting.png", lease), "style": style, "seed": seed}

    def frame(self, payload: Mapping[str, Any], lease: Lease) -> dict[str, Any]:
        url = text_of(payload, "image", 2_000)
        title, moulding = (
            text_of(payload, "title", MAX_PROMPT_CHARS, ""),
            text_of(payload, "moulding", 100, ""),
        )
        picture = opened(self.download(url, lease), url)
        lease.write_log(f"Framing {picture.width} x {picture.height} from {url}.")
        lease.report(30, "picture fetched")
        lease.check()
        return hand_in(frame(picture, title, moulding), "framed.png", lease)

    def download(self, url: str, lease: Lease) -> bytes:
        """Fetch a picture over http or https. Raises JobFailed."""
        if urlsplit(url).scheme not in ("http", "https"):
            raise JobFailed("invalid_payload", f"image must be an http or https address, not {url!r}")
        data = bytearray()
        try:
            with self.platform.client(url) as http, http.stream("GET", url) as answer:
                if not answer.is_success:
                    is_passing = answer.status_code == 429 or answer.status_code >= 500
                    message = f"{url} answered {answer.status_code}"
                    raise JobFailed("download_failed", message, retryable=is_passing)
                for chunk in answer.iter_bytes():
                    lease.check()
                    data += chunk
                    if len(data) > MAX_DOWNLOAD_BYTES:
                        raise JobFailed("image_too_large", f"{url} has more than {MAX_DOWNLOAD_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            is_passing = isinstance(error, httpx.TransportError)
            raise JobFailed("download_failed", f"{url}: {error!r}", retryable=is_passing) from error
        return bytes(data)


def opened(data: bytes, url: str) -> Image.Image:
    """The picture in `data`; its size is looked at before it is unpacked."""
    try:
        picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF"))
        if picture.width * picture.height > MAX_PIXELS:
            raise JobFailed("image_too_large", f"{url} has {picture.width} x {picture.height} pixels")
        return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise JobFailed("not_a_picture", f"{url}: {error}") from error


def hand_in(picture: Image.Image, name: str, lease: Lease) -> dict[str, Any]:
    """Upload the picture; the part of the result that both operations share."""
    stored = lease.upload(name, png_bytes(picture), "image/png")
    lease.report(100, "uploaded")
    lease.check()
    size = {"width": picture.width, "height": picture.height}
    return {"url": stored["url"], "content_type": stored["content_type"], **size}


def text_of(payload: Mapping[str, Any], name: str, longest: int, default: str | None = None) -> str:
    value = payload.get(name)
    value = default if value is None else value
    if not isinstance(value, str) or len(value) > longest or (default is None and not value.strip()):
        raise JobFailed("invalid_payload", f"{name} must be a text of up to {longest} characters")
    return value


def integer_of(payload: Mapping[str, Any], name: str, within: range, default: int) -> int:
    value = payload.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value not in within:
        raise JobFailed("invalid_payload", f"{name} must be a whole number from {within[0]} to {within[-1]}")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint and frame pictures for the service artgen.")
    parser.add_argument("--url", required=True, help="where the platform is, such as http://127.0.0.1:8000")
    parser.add_argument("--worker-id", required=True, help="this worker's own name")
    parser.add_argument("--services", nargs="+", default=["artgen"], help="what to claim (default: artgen)")
    parser.add_argument("--pace", type=float, default=0, help="least seconds a painting takes (default: 0)")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    key = os.environ.get("AFFIDAVIT_API_KEY", "")
    if not key:
        parser.error("the environment has no AFFIDAVIT_API_KEY; a key with the scope work is wanted")
    if urlsplit(options.url).scheme not in ("http", "https"):
        parser.error("--url must begin with http:// or https://")
    platform = Platform(options.url, key)
    worker = Worker(platform, options.worker_id, options.services)
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGINT, worker.stop)
    log.info("%s asks %s for %s", options.worker_id, options.url, ", ".join(options.services))
    try:
        worker.run(Artist(platform, options.pace).perform)
    except Unauthorized as error:
        log.error(
            "The API key is not accepted (is it revoked, expired or without the scope work?): %s", error
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
