"""The JSON files that the programs `generate`, `verify` and `attest` hand on to each other."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attestations.proofs.exits import UsageError, bytes_of
from attestations.proofs.protocol import ADDRESS, SCALAR_FIELD, ProofFailed, Statement

# Names are said line by line, in front of other words.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PROOFS_MAX = 100
SECONDS_MAX = 1e6
FILE_MAX_BYTES = 8 * 1_048_576
TYPE = re.compile(r"[a-z0-9_-]{1,50}")
NUMBER = re.compile(r"0x[0-9a-f]{1,64}")
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputProof:
    """The proof of one input: the SHA-256 of its bytes in hex, and the seconds that proving took."""

    name: str
    sha256: str
    proof: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFile:
    """What `generate` has made: proofs of one type, of one creator, for one submitter."""

    proof_type: str
    commitment: int
    submitter: str
    proofs: list[InputProof]

    def statement_of(self, proof: InputProof) -> Statement:
        """What a proof claims."""
        return Statement(
            commitment=self.commitment, digest=bytes.fromhex(proof.sha256), submitter=self.submitter
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "proofType": self.proof_type,
            "commitment": f"{self.commitment:#066x}",
            "submitter": self.submitter,
            "proofs": [_with_hash(asdict(proof)) for proof in self.proofs],
        }


def read_proofs(path: Path) -> ProofFile:
    """Read proofs.json; UsageError where there is none, ProofFailed("proof_invalid") for whatever is none."""
    data = _read_json(path)
    try:
        return _proof_file_of(data)
    except (_Misfit, KeyError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise ProofFailed("proof_invalid", f"{path.name} holds no proofs: {what}") from error


def write_json(path: Path, data: dict[str, Any]) -> int:
    """Write a file that is whole or not there; how many bytes it has. Raises UsageError."""
    content = json.dumps(data, indent=1).encode() + b"\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from error
    return len(content)


def read_bytes(path: Path) -> bytes:
    """A file's content. Raises UsageError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error


class _Misfit(Exception):
    """A field is not what it should be; str() says which."""


def _read_json(path: Path) -> Any:
    content = read_bytes(path)
    if len(content) > FILE_MAX_BYTES:
        raise ProofFailed("proof_invalid", f"{path.name} is larger than {bytes_of(FILE_MAX_BYTES)}")
    try:
        return json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ProofFailed("proof_invalid", f"{path.name} is no JSON") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _proof_file_of(data: Any) -> ProofFile:
    if not isinstance(data, dict):
        raise _Misfit("it is no object")
    proofs = data["proofs"]
    if not isinstance(proofs, list) or not 0 < len(proofs) <= PROOFS_MAX:
        raise _Misfit(f"proofs is no list of 1 to {PROOFS_MAX}")
    commitment = int(_text(data, "commitment", NUMBER), 16)
    if commitment >= SCALAR_FIELD:
        raise _Misfit("commitment is no number of the scalar field")
    return ProofFile(
        proof_type=_text(data, "proofType", TYPE),
        commitment=commitment,
        submitter=_text(data, "submitter", ADDRESS),
        proofs=[_input_proof_of(proof) for proof in proofs],
    )


def _input_proof_of(data: Any) -> InputProof:
    if not isinstance(data, dict) or not isinstance(data["proof"], dict):
        raise _Misfit("a proof is no object")
    seconds = data["seconds"]
    if not isinstance(seconds, int | float) or not 0 <= seconds < SECONDS_MAX:
        raise _Misfit("seconds is no number of seconds")
    return InputProof(
        name=_text(data, "name", NAME),
        sha256=_text(data, "sha256Hash", HASH),
        proof=data["proof"],
        seconds=float(seconds),
    )


def _text(data: dict[str, Any], field: str, pattern: re.Pattern[str]) -> str:
    value = data[field]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _Misfit(f"{field} is not what it should be")
    return value


def _with_hash(proof: dict[str, Any]) -> dict[str, Any]:
    return {"name": proof.pop("name"), "sha256Hash": proof.pop("sha256"), **proof}
