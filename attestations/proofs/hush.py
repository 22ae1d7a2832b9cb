"""Keeps to itself what a prover says, and what has ended it: either may hold numbers of the creator's key."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.conf import settings

from attestations.proofs.child import place_of
from attestations.proofs.making import MEMORY_IS_OUT
from attestations.proofs.protocol import InvalidStatement, ProofFailed, ProverNotInstalled
from config.processes import end_with_parent

KEPT_BYTES = 16_384


class Hush:
    """Where a prover's words go: nobody but us reads them, to find out whether memory has run out."""

    def __init__(self) -> None:
        # A file in memory only, where the system has such files, and else none.
        self._said = os.memfd_create("said") if sys.platform == "linux" else os.open(os.devnull, os.O_RDWR)

    def watch(self, work: Callable[[], None]) -> None:
        """Do it in a fork, and end as that ends. Only the fork returns.

        Rust aborts where it gets no memory: raises ProofFailed then.
        """
        worker = os.fork()
        if worker == 0:
            end_with_parent(signal.SIGKILL)
            work()
            return
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a terminal sends to the fork, too
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        if code >= 0:
            sys.exit(code)
        if code == -signal.SIGABRT and MEMORY_IS_OUT.search(self._end_of_said()):
            raise _out_of_memory()
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Let a prover work: what it says is kept, and what it raises is told without its text."""
        if sys.platform == "linux":
            os.ftruncate(self._said, 0)
        os.lseek(self._said, 0, os.SEEK_SET)
        try:
            with _output_to(self._said):
                yield
        except (ProofFailed, InvalidStatement, ProverNotInstalled, KeyboardInterrupt):
            raise
        except BaseException as error:  # a Rust panic is no Exception
            if isinstance(error, MemoryError) or MEMORY_IS_OUT.search(self._end_of_said()):
                raise _out_of_memory() from None
            what = f"{type(error).__name__} in {place_of(error)}"
            raise ProofFailed("prover_failed", f"the prover failed: {what}") from None

    def _end_of_said(self) -> str:
        end = os.lseek(self._said, 0, os.SEEK_END)
        os.lseek(self._said, max(end - KEPT_BYTES, 0), os.SEEK_SET)
        return os.read(self._said, KEPT_BYTES).decode(errors="replace")


def _out_of_memory() -> ProofFailed:
    limit = f"PROOF_MEMORY_MB ({settings.PROOF_MEMORY_MB} MB)"
    return ProofFailed("out_of_memory", f"the proof takes more memory than {limit}")


@contextmanager
def _output_to(descriptor: int) -> Iterator[None]:
    """Have stdout and stderr, of Python and of libraries in C and Rust, written there meanwhile."""
    kept = {number: os.dup(number) for number in (1, 2)}
    _flush()
    try:
        for number in kept:
            os.dup2(descriptor, number)
        yield
    finally:
        _flush()
        for number, real in kept.items():
            os.dup2(real, number)
            os.close(real)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
