"""Reads the documentation, so that tests run what it shows."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def code_in(page: str, language: str) -> list[str]:
    """The blocks of code of a page in one language, in their order."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    return [code for named, code in blocks if named == language]
