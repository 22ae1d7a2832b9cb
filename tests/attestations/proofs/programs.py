"""Runs the programs as a phase would, and provers that misbehave in them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from attestations.proofs.protocol import Statement
from tests.attestations.proofs.proving import SECRET, Wrong


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program has ended: the lines that it has printed, and what it has said on stderr."""

    code: int
    lines: list[str]
    complaint: str

    def line(self, beginning: str) -> str:
        """The one line that begins so."""
        (found,) = [line for line in self.lines if line.startswith(beginning)]
        return found


def run(program: str, *arguments: object, stdin: str = "", **environment: str) -> Ran:
    """Run `generate` or another to its end."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"attestations.proofs.{program}", *map(str, arguments)],
        cwd=settings.BASE_DIR,
        env=os.environ | environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
    )
    return Ran(ran.returncode, ran.stdout.splitlines(), ran.stderr)


class Telltale(Wrong):
    """It says the key in every way that it knows."""

    def prove(self, statement: Statement, secret: int) -> Any:
        print(secret, hex(secret))
        print(f"key {secret} {secret:x}", file=sys.stderr)
        logging.getLogger("prover").error("key %s", secret)
        os.write(1, hex(secret).encode())
        raise ValueError(f"the key is {secret}, {hex(secret)}")


class Panicking(Wrong):
    def prove(self, statement: Statement, secret: int) -> Any:
        from zksnake.ecc import EllipticCurve

        return EllipticCurve("BN254")(1, 3)


class Killed(Wrong):
    def prove(self, statement: Statement, secret: int) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Greedy(Wrong):
    def prove(self, statement: Statement, secret: int) -> Any:
        return len([bytes(1_000_000) + os.urandom(1) for _ in range(10_000)])


class Liar(Wrong):
    def prove(self, statement: Statement, secret: int) -> Any:
        return 5

    def verify(self, statement: Statement, proof: Any) -> bool:
        return False


class Looking(Wrong):
    """The proof says what a prover finds where it runs."""

    def prove(self, statement: Statement, secret: int) -> Any:
        return {"environment": dict(os.environ), "has_settings": "config.settings" in sys.modules}


class Nosy(Wrong):
    """The proof says where the key can be found but in memory."""

    def prove(self, statement: Statement, secret: int) -> Any:
        places = [
            Path(f"/proc/{pid}/{file}").read_text()
            for pid in ("self", os.getppid())
            for file in ("cmdline", "environ")
        ]
        return [f"{SECRET:x}" in place.lower() for place in places]
