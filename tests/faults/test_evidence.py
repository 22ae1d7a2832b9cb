"""`manage.py evidence`: the proof comes from a real run, and nothing of that run is left behind."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.faults.conftest import ROOT, Platform, children, eventually

pytestmark = pytest.mark.faults

LINKS = ["The request", "The answer", "What the cluster logged of the job", "The job's row"]


@pytest.fixture
def scratch(platform: Platform, tmp_path: Path) -> Path:
    """Where the command makes its temporary folder."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    platform.env["TMPDIR"] = str(scratch)
    return scratch


def sections(page: str) -> dict[str, str]:
    """The text under each heading."""
    _, *parts = re.split(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_one_trace_id_is_seen_from_request_to_log_line(platform: Platform, scratch: Path) -> None:
    page = platform.manage("evidence")

    found = sections(page)
    (trace_id,) = re.findall(r"^traceparent: 00-([0-9a-f]{32})-", page, re.MULTILINE)
    assert [heading for heading in LINKS if trace_id not in found[heading]] == []
    assert '"reminder": "due"' in found["A reminder of the tenant's own workflow"]
    assert '"code": "workflow_not_found"' in found["A reminder of another tenant's workflow"]
    assert not re.search(r"afd_\w", page)
    assert list(scratch.iterdir()) == []


def test_the_documentation_shows_the_same_sections() -> None:
    page = (ROOT / "docs" / "envelope.md").read_text()
    shown = re.search(r"<!-- evidence -->\n(.*)\n<!-- end of evidence -->", page, re.DOTALL)

    assert shown
    assert list(sections(shown[1])) == [
        *LINKS,
        "A reminder of the tenant's own workflow",
        "A reminder of another tenant's workflow",
    ]


def test_stopped_in_the_middle_it_leaves_nothing(platform: Platform, scratch: Path) -> None:
    command = platform.start("manage.py", "evidence")
    eventually(lambda: list(scratch.glob("*/up.log")), within=60, what="a database")
    eventually(lambda: len(children(command)) > 3, within=60, what="web server and cluster")
    below = children(command)
    (pid_file,) = scratch.glob("*/postgres/postmaster.pid")
    postmaster = int(pid_file.read_text().split()[0])

    command.send_signal(signal.SIGINT)
    command.send_signal(signal.SIGINT)

    assert command.wait(60) == 130
    _, alive = psutil.wait_procs(below, timeout=5)
    assert alive == []
    assert not psutil.pid_exists(postmaster)
    assert list(scratch.iterdir()) == []
