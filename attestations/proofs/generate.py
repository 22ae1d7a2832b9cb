"""The program that proves what files hold: `python -m attestations.proofs.generate --help`.

It loads no prover: proofs are made in a process apart, which knows no setting and nothing of the environment.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import resource
import secrets
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from attestations.chain.configuration import submitter_address
from attestations.chain.errors import ChainNotConfigured
from attestations.proofs.exits import UsageError, bytes_of, make_parser, run, say, short
from attestations.proofs.files import NAME, PROOFS_MAX, InputProof, ProofFile, write_json
from attestations.proofs.making import MadeProof, make_proof
from attestations.proofs.mimc import commitment_of
from attestations.proofs.protocol import ADDRESS, NOBODY, SCALAR_FIELD
from attestations.proofs.provers import keys_dir, prover_path

SECRET = re.compile(r"(0x)?[0-9a-fA-F]{1,64}")
SECRET_LINE_MAX = 100

DESCRIPTION = """\
Prove the SHA-256 of each input file with the creator's key, for the address that will publish the proofs.

The key comes as a line of hexadecimal digits on stdin; without one a new key is made, which nobody ever sees. The proof
system's keys are made where there are none. Each proof is verified once, as a stranger would."""

FILES = """\
proofs.json: {"proofType", "commitment", "submitter", "proofs": [{"name", "sha256Hash", "proof", "seconds"}]}.
  Whoever has it learns the inputs' digests and the key's commitment, and nothing of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A file to prove, by its name and the SHA-256 of its bytes."""

    name: str
    sha256: str


def main() -> None:
    """Prove every input, and write the proofs."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold the creator's key
    arguments = _parser().parse_args()
    inputs = _read_inputs(arguments.inputs)
    secret = _secret()
    file = ProofFile(
        proof_type=arguments.proof_type,
        commitment=commitment_of(secret),
        submitter=_submitter(arguments.submitter),
        proofs=[],
    )
    peak_mb = _prove(file, inputs, secret)
    size = write_json(arguments.out, file.to_json())
    say(f"written: {arguments.out.name}, {bytes_of(size)}; {peak_mb:.0f} MB of memory at most")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("attestations.proofs.generate", DESCRIPTION, FILES)
    parser.add_argument("--proof-type", required=True, metavar="TYPE", help="groth16, plonk or stark")
    parser.add_argument(
        "--input",
        required=True,
        action="append",
        dest="inputs",
        metavar="NAME=FILE",
        help=f"a file to prove, under a name of letters, digits, '.', '_' and '-'; up to {PROOFS_MAX} of them",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="proofs.json, to write")
    parser.add_argument(
        "--submitter",
        metavar="0x…",
        help="the address that will publish; by default that of PRIVATE_KEY, the zero address without a chain",
    )
    return parser


def _read_inputs(given: list[str]) -> list[Input]:
    if len(given) > PROOFS_MAX:
        raise UsageError(f"there are more than {PROOFS_MAX} inputs")
    inputs: list[Input] = []
    for number, text in enumerate(given, 1):
        name, _, path = text.partition("=")
        if not NAME.fullmatch(name) or not path:
            raise UsageError(f"--input {text} is not NAME=FILE")
        if name in (earlier.name for earlier in inputs):
            raise UsageError(f"there are two inputs {name}")
        sha256, size = _digest_of(Path(path))
        inputs.append(Input(name=name, sha256=sha256))
        say(f"input {number} of {len(given)}: {name}, {bytes_of(size)}, sha256 {short(sha256)}")
    return inputs


def _digest_of(path: Path) -> tuple[str, int]:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error


def _secret() -> int:
    """The creator's key from stdin, else a new one."""
    line = _first_line()
    if line and not (SECRET.fullmatch(line) and 0 < int(line, 16) < SCALAR_FIELD):
        raise UsageError("what stands on stdin is no key: a hexadecimal number of the scalar field, not 0")
    secret = int(line, 16) if line else secrets.randbelow(SCALAR_FIELD - 1) + 1
    how = "given" if line else "none is given, so a new one is made and not kept"
    say(f"creator's key: {how}; commitment {short(f'{commitment_of(secret):#066x}')}")
    return secret


def _first_line() -> str:
    """What stands on stdin; nothing at a terminal, where nobody is to type a key for all to see."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    return sys.stdin.buffer.readline(SECRET_LINE_MAX).decode("ascii", "replace").strip()


def _submitter(given: str | None) -> str:
    if given is None:
        address, why = _publisher()
    elif ADDRESS.fullmatch(given):
        address, why = given, "as asked for"
    else:
        raise UsageError("--submitter is no address: 0x and 40 hexadecimal digits")
    say(f"submitter: {address} ({why})")
    return address


def _publisher() -> tuple[str, str]:
    try:
        return submitter_address(), "that of PRIVATE_KEY"
    except ChainNotConfigured:
        return NOBODY, "nobody: no chain configured"


def _prove(file: ProofFile, inputs: list[Input], secret: int) -> float:
    """Add a proof of each input to the file; the most memory, in MB, that making them took."""
    has_keys = _look_for_keys(file.proof_type)
    peak_mb = 0.0
    for number, given in enumerate(inputs, 1):
        made = _prove_one(file, given, secret)
        if number == 1:
            how = "loaded" if has_keys else "made"
            say(f"keys: {how} in {made.stages['setup']:.2f} s, verifying key {short(made.verifying_key)}")
        say(f"proof {number} of {len(inputs)}: {given.name}, {_told(made)}")
        peak_mb = made.peak_mb
    return peak_mb


def _look_for_keys(proof_type: str) -> bool:
    """Whether there are some; says so before time is spent on making them."""
    prover_path(proof_type)  # raises ProverNotInstalled
    keys = keys_dir(proof_type)
    has_keys = keys.is_dir() and any(keys.iterdir())
    if not has_keys:
        say(f"keys: there are none of {proof_type} yet; its prover makes them first")
    return has_keys


def _prove_one(file: ProofFile, given: Input, secret: int) -> MadeProof:
    """Prove an input; the proof is verified, too."""
    proof = InputProof(name=given.name, sha256=given.sha256, proof={}, seconds=0)
    made = make_proof(file.proof_type, file.statement_of(proof), secret)
    file.proofs.append(replace(proof, proof=made.proof, seconds=made.stages["prove"]))
    return made


def _told(made: MadeProof) -> str:
    seconds, milliseconds = made.stages["prove"], made.stages["verify"] * 1_000
    size = bytes_of(len(json.dumps(made.proof)))
    return f"made in {seconds:.2f} s, verified in {milliseconds:.0f} ms, {size} of JSON"


if __name__ == "__main__":
    run(main)
