"""Runs a program as a child process whose output is read line by line, as it is printed.

While its lines are being stored nothing is read: a program that prints faster blocks on its pipe, and memory stays
flat. What it logs goes where this process logs. It has a process group of its own, none of which outlives the call; a
process that has left the group for a session of its own does, unless it ends with its parent by itself.
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from django.conf import settings

from config.logging import LINE_START
from config.processes import end_with_parent

LOOK_EVERY_SECONDS = 0.2
# How soon its end is noticed once it has closed what it prints to.
END_SECONDS = 0.01
# What a process that it has left behind has to say is waited for so long.
LINGER_SECONDS = 0.5
PIPE_BYTES = 65_536  # as much as a pipe holds: one read empties it
BATCH_LINES = 500
LINE_MAX = 10_000
KEPT_OF_STDERR = 4_096
LOG_LINE_MAX = 65_536  # bytes; of a longer one the rest is left out
# Their handlers raise: of a job that has run for its time, and at a terminal.
RAISING = (signal.SIGALRM, signal.SIGINT)


class ProgramFailed(Exception):
    """It could not be started, or has not ended well; str() is what it said last on stderr, else how it ended.

    Lines of its log, which may speak of anybody, are none of that.

    `exit_code` is None where it was killed by a signal or never started.
    """

    def __init__(self, detail: str, *, exit_code: int | None) -> None:
        super().__init__(detail)
        self.exit_code = exit_code


class ProgramTimedOut(Exception):
    """It ran longer than it may, and was killed."""


def run_program(
    argv: Sequence[str],
    *,
    folder: Path,
    seconds: float,
    on_lines: Callable[[list[str]], None],
    checkpoint: Callable[[], None],
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a program from BASE_DIR to its end, with `folder` for its temporary files and `env` as its environment.

    `on_lines` gets what it prints as it comes, up to 500 whole lines at once, a line of more than 10,000 characters as
    several. `checkpoint` is called about 5 times a second. What either raises, or a signal's handler, ends the program and
    its process group. Log lines in JSON, which it writes to stderr, go to our stderr as they come. Raises ProgramFailed,
    ProgramTimedOut.
    """
    ends_at = time.monotonic() + seconds
    with _Child(argv, folder, stdin, os.environ if env is None else env) as child:
        look = _every(LOOK_EVERY_SECONDS, checkpoint)
        while not child.has_ended():
            if time.monotonic() > ends_at:
                raise ProgramTimedOut(f"{_name_of(argv)} ran longer than {seconds:g} s")
            for lines in child.listen():
                on_lines(lines)
                look()
            look()
        for lines in child.last_lines():
            on_lines(lines)
            look()
        child.refuse_failure(_name_of(argv))


class _Child:
    """A running program in a process group of its own, which ends at the latest when nobody has it any more."""

    def __init__(
        self, argv: Sequence[str], folder: Path, stdin: bytes, environment: Mapping[str, str]
    ) -> None:
        with _undisturbed():
            self._popen = _start(argv, folder, environment)
            self._end = weakref.finalize(self, _end, self._popen, os.getpid())
        assert self._popen.stdin
        assert self._popen.stdout
        assert self._popen.stderr
        # Nothing here refers to itself in a circle: whoever is dropped has its program ended at once.
        self._pipes = selectors.PollSelector()
        self._pipes.register(self._popen.stdout, selectors.EVENT_READ, _Child._hear_stdout)
        self._pipes.register(self._popen.stderr, selectors.EVENT_READ, _Child._hear_stderr)
        os.set_blocking(self._popen.stdin.fileno(), False)
        self._pipes.register(self._popen.stdin, selectors.EVENT_WRITE, _Child._feed)
        self._stdin, self._stdout, self._stderr = stdin, _Lines(), _Complaints()

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *raised: object) -> None:
        with _undisturbed():
            self._hear_last_complaints()
            self._end()
            del self._popen  # here, for what is raised while an object is deleted is lost

    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def listen(self, seconds: float = LOOK_EVERY_SECONDS) -> Iterator[list[str]]:
        """What is said now, or within so many seconds."""
        for key, _ in self._pipes.select(seconds if self._is_heard else END_SECONDS):
            yield from _in_batches(key.data(self, key.fileobj))

    def last_lines(self) -> Iterator[list[str]]:
        """What is left in the pipes once it has ended, and what those that it has left behind say for a moment.

        Then they are killed: else whoever holds a pipe could keep us here.
        """
        ends_at = time.monotonic() + LINGER_SECONDS
        while self._is_heard and (left := ends_at - time.monotonic()) > 0:
            yield from self.listen(left)
        _kill_group(self._popen)
        # However long the lines so far took to be stored, none is lost.
        yield from self.listen(0)
        yield from _in_batches(self._stdout.rest())
        self._stderr.end()

    def refuse_failure(self, name: str) -> None:
        """Raise ProgramFailed unless it has ended with exit code 0."""
        code = self._popen.returncode
        said = self._stderr.last_words()
        if code < 0:
            how = f"{name} was killed by signal {-code}"
            raise ProgramFailed(f"{how}: {said}" if said else how, exit_code=None)
        if code > 0:
            raise ProgramFailed(said or f"{name} ended with exit code {code}", exit_code=code)

    @property
    def _is_heard(self) -> bool:
        """Whether anybody can still say something."""
        return any(key.events == selectors.EVENT_READ for key in self._pipes.get_map().values())

    def _hear_stdout(self, pipe: IO[bytes]) -> list[str]:
        return self._stdout.read(self._read(pipe))

    def _hear_stderr(self, pipe: IO[bytes]) -> list[str]:
        self._stderr.read(self._read(pipe))
        return []

    def _hear_last_complaints(self) -> None:
        """Whatever has ended it: what it logged until then is not lost."""
        pipe = self._popen.stderr
        if pipe and pipe in [key.fileobj for key, _ in self._pipes.select(0)]:
            self._hear_stderr(pipe)
        self._stderr.end()

    def _read(self, pipe: IO[bytes]) -> bytes:
        said = os.read(pipe.fileno(), PIPE_BYTES)
        if not said:
            self._pipes.unregister(pipe)
        return said

    def _feed(self, pipe: IO[bytes]) -> list[str]:
        try:
            self._stdin = self._stdin[os.write(pipe.fileno(), self._stdin[:PIPE_BYTES]) :]
        except BrokenPipeError:
            self._stdin = b""  # it wants no more
        if not self._stdin:
            self._pipes.unregister(pipe)
            pipe.close()
        return []


class _Lines:
    """Makes lines of bytes, wherever a read has cut them."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def read(self, data: bytes) -> list[str]:
        """The lines that are whole now; what has no newline yet is kept up to LINE_MAX."""
        text = self._rest + _storable(self._decoder.decode(data))
        *whole, rest = text.split("\n")
        pieces = [piece for line in whole for piece in _cut(line)]
        *more, self._rest = _cut(rest)
        return pieces + more

    def rest(self) -> list[str]:
        """What came after the last newline."""
        last = self._rest + _storable(self._decoder.decode(b"", final=True))
        self._rest = ""
        return _cut(last) if last else []


class _Complaints:
    """What comes on stderr: lines of a log are handed on as they come, of the rest the end is kept."""

    def __init__(self) -> None:
        self._line, self._words = b"", bytearray()

    def read(self, data: bytes) -> None:
        *whole, self._line = (self._line + data).split(b"\n")
        for line in whole:
            self._take(line + b"\n")
        # A line of a log is known by its beginning, and of words the end counts.
        kept = slice(LOG_LINE_MAX) if _is_log(self._line) else slice(-LOG_LINE_MAX, None)
        self._line = self._line[kept]

    def end(self) -> None:
        """Nothing follows: a line without an end is one, too."""
        line, self._line = self._line, b""
        if line:
            self._take(line)

    def last_words(self) -> str:
        """The last lines but those of a log, whole ones where there are any."""
        kept = self._words[-KEPT_OF_STDERR:]
        if len(self._words) > KEPT_OF_STDERR:
            kept = self._words.partition(b"\n")[2] or kept
        return _storable(kept.decode(errors="replace")).strip()

    def _take(self, line: bytes) -> None:
        if _is_log(line):
            _hand_on(line)
        else:
            self._words += line
            # One more, which tells whether the first of those kept begins a line.
            del self._words[: -KEPT_OF_STDERR - 1]


def _is_log(line: bytes) -> bool:
    return line.startswith(LINE_START.encode())


def _hand_on(line: bytes) -> None:
    """Write a line of a log as if it were ours."""
    text = line.rstrip(b"\n")
    shown = text if len(text) < LOG_LINE_MAX else text[:LOG_LINE_MAX] + "…".encode()
    sys.stderr.write(shown.decode(errors="replace") + "\n")
    sys.stderr.flush()


def _cut(line: str) -> list[str]:
    """The line in pieces of LINE_MAX at most; an empty one is a piece, too."""
    return [line[at : at + LINE_MAX] for at in range(0, len(line), LINE_MAX)] or [""]


def _storable(text: str) -> str:
    """PostgreSQL stores no NUL."""
    return text.replace("\0", "\ufffd")


def _in_batches(lines: list[str]) -> Iterator[list[str]]:
    for at in range(0, len(lines), BATCH_LINES):
        yield lines[at : at + BATCH_LINES]


def _start(argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    parent = os.getpid()

    def end_with_us() -> None:
        end_with_parent(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it was gone before it could be followed

    try:
        return subprocess.Popen(
            argv,
            cwd=settings.BASE_DIR,
            env={**environment, "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            preexec_fn=end_with_us,
        )
    except OSError as error:
        raise ProgramFailed(
            f"{_name_of(argv)} could not be started: {error.strerror}", exit_code=None
        ) from error


def _end(popen: subprocess.Popen[bytes], owner: int) -> None:
    """Kill it with all that it has started, and close the pipes; a forked child of the owner only closes them."""
    if os.getpid() == owner:
        _kill_group(popen)
        popen.wait()
    else:
        popen.returncode = 0  # it is not ours to wait for
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        if pipe is not None:
            pipe.close()


def _kill_group(popen: subprocess.Popen[bytes]) -> None:
    """Kill whoever is left of it; its number is nobody else's so soon after its end."""
    try:
        os.killpg(popen.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left; macOS says so otherwise


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Have what a signal's handler raises be raised afterwards: else a child could be left that nobody knows of."""
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main one only
        return
    came: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        came.append(signum)

    before = {number: signal.getsignal(number) for number in RAISING}
    handlers = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for signum in came:
            signal.raise_signal(signum)


def _every(seconds: float, call: Callable[[], None]) -> Callable[[], None]:
    """Calls `call` at most so often, however often it is called itself."""
    called_at = time.monotonic()

    def look() -> None:
        nonlocal called_at
        if time.monotonic() - called_at >= seconds:
            called_at = time.monotonic()
            call()

    return look


def _name_of(argv: Sequence[str]) -> str:
    """What people call it: of `python -m a.b.generate` it is generate."""
    if "-m" in argv[:-1]:
        return argv[argv.index("-m") + 1].rpartition(".")[2]
    return Path(argv[0]).name
