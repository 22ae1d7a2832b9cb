"""The process that makes proofs: started with a thread's first order, kept for those that follow.

Loading the keys takes several times as long as proving. Each thread has a process of its own: the kernel ends a child
with the thread that started it, so it may be shared with no other.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from attestations.proofs import child
from attestations.proofs.protocol import ProofFailed

# Whatever a prover may leak or fragment stays small.
PROOFS_MAX = 200
LOOK_EVERY_SECONDS = 0.2
PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
THREADS = {"RAYON_NUM_THREADS": "2", "ZKSNAKE_PARALLEL_CPU": "1", "RUST_BACKTRACE": "0"}
PIPE_BYTES = 65_536  # as much as a pipe holds: one read empties it
KEPT_OF_STDERR = 16_384


@dataclass(frozen=True, slots=True)
class Answer:
    """What the process has said to an order, and the end of what it has written to stderr meanwhile."""

    said: dict[str, Any]
    stderr: str

    @property
    def is_proof(self) -> bool:
        return "made" in self.said


class ProcessEnded(Exception):
    """The process ended without an answer, before or after it had taken the order."""

    def __init__(self, returncode: int, stderr: str, *, has_taken: bool) -> None:
        super().__init__(f"the prover's process ended with {returncode}")
        self.returncode = returncode
        self.stderr = stderr
        self.has_taken = has_taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Outfit:
    """What a process is started with and for: with another one, another process is needed."""

    memory_mb: int
    keys: str
    provers: dict[str, str]
    environment: dict[str, str]

    @classmethod
    def now(cls) -> Outfit:
        """By the settings and the environment as they are."""
        return cls(
            memory_mb=settings.PROOF_MEMORY_MB,
            keys=str(settings.PROOF_KEYS_DIR),
            provers=dict(settings.PROVERS),
            environment={name: os.environ[name] for name in PASSED_ON if name in os.environ} | THREADS,
        )


class ProvingProcess:
    """One child of ours. It ends with `end()`, and whenever nobody has it any more."""

    def __init__(self, outfit: Outfit) -> None:
        self.outfit = outfit
        self.proofs = 0
        self._popen = _start(outfit)
        self.end = weakref.finalize(self, _end, self._popen, os.getpid())
        self._stdout, self._stderr = bytearray(), bytearray()
        self._pipes = selectors.PollSelector()  # it has no descriptor that a fork would share
        self._pipes.register(_pipe(self._popen.stdout), selectors.EVENT_READ, self._stdout)
        self._pipes.register(_pipe(self._popen.stderr), selectors.EVENT_READ, self._stderr)

    def ask(self, order: str, checkpoint: Callable[[], None]) -> Answer:
        """Give it an order and wait for the answer. Raises ProcessEnded, ProofFailed("timed_out").

        And what `checkpoint` raises. After any of them it is of no more use.
        """
        self._listen(0)
        self._stderr.clear()  # said since the last answer, of another order
        look = _watch(checkpoint)
        self._send(order)
        self._line(look, has_taken=False)
        answer = json.loads(self._line(look, has_taken=True))
        self._listen(0)
        self.proofs += 1
        return Answer(answer, self._said())

    def _send(self, order: str) -> None:
        rest = order.encode() + b"\n"
        try:
            while rest:
                rest = rest[os.write(_pipe(self._popen.stdin), rest) :]
        except BrokenPipeError:
            pass  # it has ended, as will be heard

    def _line(self, look: Callable[[], None], *, has_taken: bool) -> bytes:
        """The next line that it says; `look` is called again and again until there is one."""
        while b"\n" not in self._stdout:
            has_ended = self._popen.poll() is not None  # asked first: its last words count
            self._listen(0 if has_ended else LOOK_EVERY_SECONDS)
            if has_ended and b"\n" not in self._stdout:
                raise ProcessEnded(self._popen.returncode, self._said(), has_taken=has_taken)
            look()
        line, _, rest = bytes(self._stdout).partition(b"\n")
        self._stdout[:] = rest
        return line

    def _listen(self, seconds: float) -> None:
        """Read what there is, waiting so long for something."""
        for key, _ in self._pipes.select(seconds):
            if said := os.read(key.fd, PIPE_BYTES):
                key.data.extend(said)
            else:
                self._pipes.unregister(key.fileobj)
        del self._stderr[:-KEPT_OF_STDERR]

    def _said(self) -> str:
        return self._stderr.decode(errors="replace")


class _Kept(threading.local):
    process: ProvingProcess | None = None


_kept = _Kept()


def ask(order: str, checkpoint: Callable[[], None]) -> Answer:
    """Have this thread's process carry out an order; raises what ProvingProcess.ask() does.

    One that is found dead (the kernel kills what is idle, too) is replaced as if it had never been.
    """
    outfit = Outfit.now()
    kept, _kept.process = _kept.process, None
    if kept is not None and kept.outfit == outfit:
        try:
            return _ask(kept, order, checkpoint)
        except ProcessEnded as ended:
            if ended.has_taken:
                raise
    elif kept is not None:
        kept.end()
    return _ask(ProvingProcess(outfit), order, checkpoint)


def _ask(process: ProvingProcess, order: str, checkpoint: Callable[[], None]) -> Answer:
    """Keep the process only after a proof: who knows in which state a failure has left it."""
    try:
        answer = process.ask(order, checkpoint)
    except BaseException:
        process.end()
        raise
    if answer.is_proof and process.proofs < PROOFS_MAX:
        _kept.process = process
    else:
        process.end()
    return answer


def _forget() -> None:
    """In a forked child: the process is its parent's."""
    _kept.process = None


os.register_at_fork(after_in_child=_forget)


def _start(outfit: Outfit) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", child.__name__, str(os.getpid())],
        cwd=settings.BASE_DIR,
        env=outfit.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )


def _end(popen: subprocess.Popen[bytes], owner: int) -> None:
    """Kill it and whatever it has started, and close the pipes; a forked child of the owner only closes them."""
    if os.getpid() != owner:
        popen.returncode = 0  # it is not ours to wait for
    elif popen.poll() is None:
        try:
            os.killpg(popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has just ended
        popen.wait()
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        if pipe is not None:
            pipe.close()


def _pipe(pipe: Any) -> int:
    """The descriptor of a pipe that there is."""
    return int(pipe.fileno())


def _watch(checkpoint: Callable[[], None]) -> Callable[[], None]:
    """Calls `checkpoint` about 5 times a second, however often it is called; raises ProofFailed("timed_out")."""
    began = looked_at = time.monotonic()

    def look() -> None:
        nonlocal looked_at
        now = time.monotonic()
        if now - looked_at < LOOK_EVERY_SECONDS:
            return
        looked_at = now
        checkpoint()
        if now - began > settings.PROOF_SECONDS:
            detail = f"no proof within PROOF_SECONDS ({settings.PROOF_SECONDS} s)"
            raise ProofFailed("timed_out", detail)

    return look
