"""Provers that misbehave, for programs that tests start."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


class Slow:
    """Takes longer than any phase."""

    name = "groth16"
    is_verified_on_chain = True

    def __init__(self, keys: Path) -> None:
        self.keys = keys

    def setup(self) -> None:
        time.sleep(600)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Killed(Slow):
    """The program that wants a proof of it is killed meanwhile."""

    def setup(self) -> None:
        os.kill(os.getppid(), signal.SIGKILL)
