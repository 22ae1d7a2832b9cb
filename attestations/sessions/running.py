"""Runs the phases of proof sessions: what their jobs do.

Each phase is a program of its own, which reads files and writes one; the database carries what is in them from phase to
phase. What the program prints is told line by line, before more of it is read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings

from attestations.canonical import canonical_json
from attestations.services.creators import CREATOR_UNREADABLE, creator_of
from attestations.sessions.following import exit_error
from attestations.sessions.inputs import inputs_of
from attestations.sessions.phases import ATTEST, GENERATE, VERIFY, Phase
from config.tracing import traceparent_of
from jobs.hygiene.sanitizer import sanitize_base64
from jobs.models import Event, Job, Workflow
from jobs.programs import ProgramFailed, ProgramTimedOut, run_program
from jobs.queue.envelope import JobEnvelope, JobStopped
from jobs.queue.handlers import PermanentError
from jobs.services.events import record_of_attempt
from jobs.tenancy.sealing import Unreadable

TRANSACTION = re.compile(r"transaction (0x[0-9a-f]{64}) (https?://\S+|-)")
# No phase takes so long: what is older was left by a worker that was killed.
LEFT_SECONDS = 3_600

Tell = Callable[[Sequence[tuple[str, dict[str, Any]]]], None]


def generate(envelope: JobEnvelope[Any]) -> dict[str, Any]:
    """Prove the tenant's facts with its creator's key; what they were goes with the proofs."""
    session = _session_of(envelope)
    inputs = inputs_of(session)
    try:
        secret = creator_of(session.tenant_id).secret
    except Unreadable as error:
        raise PermanentError(CREATOR_UNREADABLE, code="creator_key_unreadable") from error
    files = {f"{name}.json": canonical_json(document) for name, document in inputs.items()}
    named = [part for name in inputs for part in ("--input", f"{name}={name}.json")]
    made = _run(
        envelope,
        GENERATE,
        ["--proof-type", session.data["proofType"], *named],
        files,
        stdin=f"{secret:#066x}\n".encode(),
    )
    return {**made, "inputs": inputs}


def verify(envelope: JobEnvelope[Any]) -> dict[str, Any]:
    """Verify the proofs, and ask the chain what recording them would take."""
    files = {GENERATE.writes: _proofs_for(envelope)}
    return _run(envelope, VERIFY, ["--proofs", GENERATE.writes], files)


def attest(envelope: JobEnvelope[Any]) -> dict[str, Any]:
    """Have the chain record the digests, or say why not."""
    files = {GENERATE.writes: _proofs_for(envelope)}
    session = str(_session_of(envelope).pk)
    return _run(envelope, ATTEST, ["--proofs", GENERATE.writes, "--workflow", session], files)


def _session_of(envelope: JobEnvelope[Any]) -> Workflow:
    return Workflow.objects.select_related("tenant").get(jobs=envelope.job_id)


def _proofs_for(envelope: JobEnvelope[Any]) -> bytes:
    """What the first phase has left in the database."""
    step = Job.objects.get(workflow__jobs=envelope.job_id, step_name=GENERATE.step)
    return json.dumps(step.result).encode()


def _run(
    envelope: JobEnvelope[Any],
    phase: Phase,
    arguments: Sequence[str],
    files: dict[str, bytes],
    *,
    stdin: bytes = b"",
) -> dict[str, Any]:
    """Run a phase's program on these files; what it has written. Raises PermanentError when it fails.

    There is no second try by itself: the session ends, and a retry of its workflow begins with this phase.
    """
    tell = _teller(envelope)
    tell([(Event.Type.STATUS, {"phase": phase.name, "progress": phase.progress, "step": phase.doing})])
    with TemporaryDirectory(dir=_folders(), prefix=f"{phase.step}-") as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        out = folder / phase.writes
        try:
            run_program(
                [sys.executable, "-m", f"attestations.proofs.{phase.step}"]
                + [_in_folder(argument, folder, files) for argument in arguments]
                + ["--out", str(out)],
                folder=folder,
                seconds=phase.seconds,
                on_lines=lambda lines: tell([event for line in lines for event in _events_of(line)]),
                checkpoint=envelope.checkpoint,
                stdin=stdin,
                env={**os.environ, "TRACEPARENT": traceparent_of(envelope.trace_id)},
            )
        except ProgramFailed as failed:
            raise PermanentError(str(failed), code=exit_error(failed.exit_code)) from failed
        except ProgramTimedOut as late:
            raise PermanentError(str(late), code="timed_out") from late
        return _read_result(out, phase)


def _folders() -> Path:
    """Where phases have their folders while they run, closed to others; those that were left there are removed."""
    folders = Path(settings.DATA_DIR) / "phases"
    folders.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in folders.iterdir():
        with suppress(FileNotFoundError):  # another worker removes it, too
            if time.time() - folder.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(folder)
    return folders


def _read_result(out: Path, phase: Phase) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(out.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise PermanentError(f"{phase.step} has written no result", code="no_result") from error
    return result


def _in_folder(argument: str, folder: Path, files: dict[str, bytes]) -> str:
    """An argument with the file that it names in its folder."""
    name, _, file = argument.rpartition("=")
    if file not in files:
        return argument
    return f"{name}={folder / file}" if name else str(folder / file)


def _teller(envelope: JobEnvelope[Any]) -> Tell:
    """Add to the story of the job; raises JobStopped when another attempt has taken over."""

    def tell(events: Sequence[tuple[str, dict[str, Any]]]) -> None:
        if not record_of_attempt(envelope.job_id, envelope.attempt, events):
            raise JobStopped

    return tell


def _events_of(line: str) -> list[tuple[str, dict[str, Any]]]:
    """A line of the log, and the transaction that it tells of."""
    said = sanitize_base64([line], in_words=True)
    events: list[tuple[str, dict[str, Any]]] = [(Event.Type.LOG, {"lines": said, "timestamp": _now_ms()})]
    if found := TRANSACTION.fullmatch(line):
        url = None if found[2] == "-" else found[2]
        events.append((Event.Type.TRANSACTION, {"txHash": found[1], "explorerUrl": url}))
    return events


def _now_ms() -> int:
    """Milliseconds of the epoch."""
    return time.time_ns() // 1_000_000
