"""The program that has the chain record the digests of proofs: `python -m attestations.proofs.attest --help`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from attestations.chain.errors import ChainNotConfigured
from attestations.proofs.exits import UsageError, bytes_of, make_parser, run, say, short
from attestations.proofs.files import ProofFile, read_proofs, write_json

if TYPE_CHECKING:
    from attestations.models import ProofSession

# Of the 120 that the third phase of a session has, for the chain to take and confirm what was sent.
WAIT_SECONDS = 90

DESCRIPTION = """\
Have the contract record the digests of proofs, by one transaction each, and wait until the chain has confirmed them.

Each transaction is stored before it is sent: a run that follows one that was killed goes on with what that has left, and
pays for nothing twice. The chain is that of CHAIN_RPC_URL, PRIVATE_KEY and CONTRACT_ADDRESS; without them nothing is
recorded, and that is no error. Groth16 proofs are verified by the contract; PlonK proofs are verified here, off chain,
and the contract records their digests."""

FILES = """\
proofs.json: what attestations.proofs.generate has written.
attestation.json: {"chainId", "contractAddress", "verifiedOnChain", "transactions": [{"name", "sha256Hash", "txHash",
  "explorerUrl", "blockNumber", "gasUsed"}], "note"}, or {"skipped": "no chain configured"}. explorerUrl is null for a
  chain without an explorer; note is there where the contract has verified nothing.

Once a transaction is confirmed, a line of its own says `transaction 0x… URL`, with - for a chain without an explorer."""


def main() -> None:
    """Read the proofs, have them recorded, and write what came of it."""
    arguments = _parser().parse_args()
    file = read_proofs(arguments.proofs)
    say(f"read: {len(file.proofs)} of {file.proof_type}, commitment {short(f'{file.commitment:#066x}')}")
    told = _attest(file, arguments.workflow)
    size = write_json(arguments.out, told)
    say(f"written: {arguments.out.name}, {bytes_of(size)}")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("attestations.proofs.attest", DESCRIPTION, FILES)
    parser.add_argument("--proofs", required=True, type=Path, metavar="FILE", help="proofs.json, to read")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="attestation.json, to write")
    parser.add_argument(
        "--workflow",
        type=UUID,
        metavar="ID",
        help="the proof session's workflow that the transactions are for; without it they are nobody's",
    )
    return parser


def _attest(file: ProofFile, workflow: UUID | None) -> dict[str, Any]:
    # Loaded when the arguments make sense: web3 takes a second, and --help should not.
    import django

    django.setup()
    from attestations.chain.configuration import submitter_address

    session = _session_of(workflow) if workflow else None
    try:
        submitter_address()
    except ChainNotConfigured as missing:
        say(f"skipped: {missing}")
        return {"skipped": str(missing)}
    from attestations.chain.recording import record_proofs

    return record_proofs(file, session=session, seconds=WAIT_SECONDS, say=say)


def _session_of(workflow: UUID) -> ProofSession:
    """The session that runs; raises UsageError, for nobody looks after what is sent for one that does not."""
    from attestations.models import ProofSession

    session: ProofSession | None = ProofSession.objects.filter(pk=workflow).first()
    if session is None:
        raise UsageError(f"there is no proof session {workflow}")
    if session.status != ProofSession.Status.RUNNING:
        raise UsageError(f"the proof session {workflow} is {session.status}")
    return session


if __name__ == "__main__":
    run(main)
