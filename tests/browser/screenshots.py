"""`python -m tests.browser.screenshots`: takes the pictures in docs/images from a real platform that has been busy.

Everything shown is on a platform of its own: seeded days, and a worker that paints for real.
"""

from __future__ import annotations

import io
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
JOBS = 30_000
ACCOUNT = "ines"
# Each look with what its pictures are called besides.
LOOKS: dict[str, dict[str, Any]] = {
    "-phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
    "-dark": {"viewport": {"width": 1400, "height": 1000}, "color_scheme": "dark"},
    # The last, for in it what has failed is tried again.
    "": {"viewport": {"width": 1400, "height": 1000}, "color_scheme": "light"},
}
COLORS = 256  # enough for pages of few colours; pictures on them are dithered
SETTLE_MS = 1_500
RUN_SECONDS = 120.0

Prepare = Callable[[Page], None]


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A picture to be taken: of which page, and what is done there first."""

    name: str
    path: str
    prepare: Prepare | None = None
    height: int = 1_000  # of the window, unless it is a phone's
    looks: tuple[str, ...] = ("", "-dark", "-phone")


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from jobs.demo.own_platform import own_platform

    IMAGES.mkdir(exist_ok=True)
    password = secrets.token_urlsafe(12)
    with own_platform(say) as platform, chromium() as browser:
        shots = prepare_platform(platform, password)
        for suffix, look in LOOKS.items():
            context = browser.new_context(**look)
            page = context.new_page()
            log_in(page, platform.url, password)
            for shot in shots:
                if suffix in shot.looks:
                    take(page, platform.url, shot, suffix)
            context.close()
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr)


@contextmanager
def chromium() -> Iterator[Browser]:
    from tests.browser.conftest import ARGUMENTS, find_browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
        yield browser
        browser.close()


def prepare_platform(platform: Any, password: str) -> list[Shot]:
    """Fill the platform with days of work and with some that is real; the pictures to take of it."""
    say(f"Seeding {JOBS:,} jobs …")
    platform.manage("seed_demo", "--jobs", str(JOBS))
    platform.env["DJANGO_SUPERUSER_PASSWORD"] = password
    platform.manage("createsuperuser", "--noinput", f"--username={ACCOUNT}", "--email=ines@affidavit.example")
    workflow, job = paint(platform)
    failed = platform.manage(
        "shell", "-v", "0", "-c",
        "from jobs.models import Job; print(Job.objects.filter(error__code='out_of_memory', status='failed').latest('pk').pk)",
    ).splitlines()[-1]  # fmt: skip
    return [
        Shot(name="overview", path="/admin/", height=1_900),
        Shot(name="workflow", path=f"/admin/jobs/workflow/{workflow}/change/", height=1_950),
        Shot(name="job", path=f"/admin/jobs/job/{job}/change/", looks=("",)),
        Shot(name="job-failed", path=f"/admin/jobs/job/{failed}/change/", height=1_400),
        Shot(name="jobs", path="/admin/jobs/job/"),
        Shot(name="jobs-filtered", path="/admin/jobs/job/?status=failed&payload=style%3Dposter"),
        Shot(name="errors", path="/admin/jobs/errorgroup/"),
        Shot(name="queues", path="/admin/jobs/queue/", height=700),
        Shot(
            name="operation",
            path="/admin/jobs/job/?status=failed",
            prepare=retry_all,
            height=600,
            looks=("",),
        ),
        Shot(name="audit", path="/admin/jobs/auditentry/", looks=("",)),
        Shot(name="keyboard", path="/admin/jobs/job/", prepare=open_help, looks=("",)),
    ]


def paint(platform: Any) -> tuple[str, str]:
    """Have a picture painted and framed by the example worker; the keys of its workflow and of its last job."""
    from jobs.demo.generation import Client
    from jobs.demo.processes import running

    say("Painting …")
    platform.manage("create_tenant", "demo")
    scopes = ("--scopes", "submit,work,read,manage")
    key = platform.manage("create_api_key", "demo", "--name", "studio", *scopes)
    client = Client(platform.url, key)
    worker = ["examples/art_worker.py", "--url", platform.url, "--worker-id", "art-1", "--pace", "4"]
    with (platform.log.parent / "worker.log").open("wb") as output:
        env = {**platform.env, "AFFIDAVIT_API_KEY": key}
        with running(worker, output, **env) as process:
            variables = {"prompt": "aurora over a frozen lake in winter", "style": "watercolor", "seed": 7}
            accepted = client.generate(variables, user_id="user-1204")
            *_, workflow = client.watch(
                accepted["workflow_id"],
                within_seconds=RUN_SECONDS,
                is_worker_alive=lambda: process.poll() is None,
            )
    platform.manage("evaluate_jobs")
    job = workflow["jobs"][-1]["id"]
    find = f"from jobs.models import Job; print(Job.objects.get(pk='{job}').workflow_id)"
    return platform.manage("shell", "-v", "0", "-c", find).splitlines()[-1], job


def log_in(page: Page, url: str, password: str) -> None:
    page.goto(f"{url}/admin/login/")
    page.fill("input[name=username]", ACCOUNT)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(f"{url}/admin/")


def take(page: Page, url: str, shot: Shot, suffix: str) -> None:
    """Open a page, let it settle, and keep what the window shows of it."""
    if suffix != "-phone":
        page.set_viewport_size({"width": 1_400, "height": shot.height})
    page.goto(url + shot.path, wait_until="load")
    if shot.prepare:
        shot.prepare(page)
    page.wait_for_timeout(SETTLE_MS)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = IMAGES / f"{shot.name}{suffix}.png"
    image.quantize(COLORS, method=Image.Quantize.MEDIANCUT).save(path, optimize=True)
    say(f"{path.name}: {path.stat().st_size // 1024} KB")


def retry_all(page: Page) -> None:
    """Have all failed jobs tried again, and look while that is under way."""
    page.check("#action-toggle")
    page.click(".question a")
    page.select_option("select[name=action]", "retry_jobs")
    page.click("#changelist-actions button[name=index]")
    page.fill("input[name=reason]", "The GPUs have more memory now.")
    page.click("#content .afd-ask button[type=submit]")
    page.wait_for_url("**/admin/jobs/bulkoperation/**")
    page.wait_for_timeout(2 * SETTLE_MS)


def open_help(page: Page) -> None:
    page.keyboard.press("?")


if __name__ == "__main__":
    sys.exit(main())
