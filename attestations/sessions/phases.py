"""The three phases of a proof session, each a job that runs one program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A step of the workflow: how its stream calls it, and how many seconds its program may take."""

    step: str
    kind: str
    name: str
    doing: str
    progress: int  # percent, when it begins
    seconds: int
    queue: str
    writes: str  # the file that its program leaves


GENERATE = Phase(
    step="generate",
    kind="proofs.generate",
    name="generating",
    doing="Generating proofs",
    progress=0,
    seconds=60,
    queue="proof-generation",
    writes="proofs.json",
)
VERIFY = Phase(
    step="verify",
    kind="proofs.verify",
    name="verifying",
    doing="Verifying proofs",
    progress=33,
    seconds=30,
    queue="proof-generation",
    writes="verification.json",
)
ATTEST = Phase(
    step="attest",
    kind="proofs.attest",
    name="attesting",
    doing="Attesting on chain",
    progress=66,
    seconds=120,
    queue="proof-publishing",
    writes="attestation.json",
)
PHASES = (GENERATE, VERIFY, ATTEST)

# What follows the last of them.
COMPLETE = {"phase": "complete", "progress": 100, "step": "Complete"}


def phase_after(completed: int) -> Phase:
    """The phase at which a session is that has completed so many; they follow one another."""
    return PHASES[min(completed, len(PHASES) - 1)]
