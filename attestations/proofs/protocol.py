"""What every proof system has in common: the statement that is proved, the prover's verbs, what may go wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

# The order of BN254's groups: circuits calculate modulo it.
SCALAR_FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617
HALF = 1 << 128
NOBODY = "0x" + "0" * 40  # whom a proof is bound to where there is nobody to publish it
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class ProverNotInstalled(Exception):
    """No prover of this name is installed; str() says `prover not installed: …`."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"prover not installed: {detail}")
        self.detail = detail


class ProofFailed(Exception):
    """A proof could not be made or read; str() says more than `code`.

    out_of_memory: its process takes more than PROOF_MEMORY_MB. timed_out: it takes longer than PROOF_SECONDS.
    prover_failed: the prover gave up, or its process died. proof_invalid: what was given or made is no proof of the
    statement. keys_damaged: the keys are missing, not what their checksums say, or of another circuit.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class InvalidStatement(ValueError):
    """A number of the statement is out of its range, or the key is not the one behind the commitment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """I know the key behind `commitment`, and it signs `digest` for `submitter`.

    The submitter is the address that publishes the proof (the zero address where there is no chain): a proof seen
    in somebody's transaction is of no use to anybody else.
    """

    commitment: int
    digest: bytes
    submitter: str

    @property
    def public_inputs(self) -> tuple[int, int, int, int]:
        """Commitment, high and low 128 bits of the digest, submitter; InvalidStatement where one is out of range.

        A verifier takes a number and that number plus the field's order for the same one, so the ranges are what
        makes a statement have one spelling only.
        """
        if not _is_int(self.commitment) or not 0 <= self.commitment < SCALAR_FIELD:
            raise InvalidStatement("the commitment is no number of the scalar field")
        if not isinstance(self.digest, bytes) or len(self.digest) != 32:
            raise InvalidStatement("the digest does not have 32 bytes")
        if not isinstance(self.submitter, str) or not ADDRESS.fullmatch(self.submitter):
            raise InvalidStatement("the submitter is no address: 0x and 40 hex digits")
        high, low = divmod(int.from_bytes(self.digest), HALF)
        return self.commitment, high, low, int(self.submitter, 16)


class Prover(Protocol):
    """A proof system for this statement; one is made with the folder that its keys are kept in."""

    name: str
    is_verified_on_chain: bool

    @property
    def verifying_key_digest(self) -> str:
        """SHA-256 of the verifying key, hex; ProofFailed("keys_damaged") where there is none."""

    def setup(self) -> None:
        """Load the keys, and make them first where there are none; ProofFailed("keys_damaged")."""

    def prove(self, statement: Statement, secret: int) -> Any:
        """Make a proof; InvalidStatement where `secret` is not the key behind the commitment."""

    def verify(self, statement: Statement, proof: Any) -> bool:
        """Whether `proof` proves `statement` under the key that it names, used now or before; InvalidStatement."""

    def to_json(self, proof: Any) -> dict[str, Any]:
        """The proof as JSON, every number as 0x and hex."""

    def from_json(self, data: Any) -> Any:
        """Read a proof; ProofFailed("proof_invalid") for whatever is none."""


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
