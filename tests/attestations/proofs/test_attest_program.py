"""`python -m attestations.proofs.attest` has proofs recorded, says how it goes, and never pays for a digest twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from attestations.chain.client import Registry, open_registry
from attestations.chain.purposes import Purpose
from attestations.chain.registering import Registration, register
from attestations.models import ChainTransaction
from attestations.proofs.files import InputProof, ProofFile
from attestations.services.reconciling import reconcile_transactions
from jobs.models import Tenant, Workflow
from tests.attestations.chain.chains import SENDER, Chain
from tests.attestations.chain.conftest import make_published
from tests.attestations.chain.proving import Proved, prove
from tests.attestations.chain.proxies import lying
from tests.attestations.chain.test_contract import send
from tests.attestations.chain.test_registering import mined_of, rows, statuses
from tests.factories import make_workflow

pytestmark = pytest.mark.usefixtures("chain", "for_children")
SECONDS = 60


@pytest.fixture(scope="session")
def groth16(session_proof_keys: Path) -> list[Proved]:
    return _proofs("groth16", session_proof_keys)


@pytest.fixture(scope="session")
def plonk(session_proof_keys: Path) -> list[Proved]:
    return _proofs("plonk", session_proof_keys)


@pytest.fixture
def session(tenant: Tenant) -> Workflow:
    return make_workflow(tenant, kind="proof", session_id="s-1", data={"proofType": "groth16"}, total_steps=3)


@pytest.fixture
def registry(chain: Chain) -> Registry:
    return open_registry()


def _proofs(system: str, keys: Path) -> list[Proved]:
    from django.test import override_settings

    with override_settings(PROOF_KEYS_DIR=keys):
        return [prove(name.encode(), system=system) for name in ("request", "workflows")]


def write(folder: Path, proofs: list[Proved]) -> Path:
    """The file that they would come in."""
    first = proofs[0]
    file = ProofFile(
        proof_type=first.proof["system"],
        commitment=first.statement.commitment,
        submitter=first.statement.submitter,
        proofs=[
            InputProof(
                name=f"input-{number}", sha256=each.statement.digest.hex(), proof=each.proof, seconds=0.2
            )
            for number, each in enumerate(proofs, 1)
        ],
    )
    path = folder / "proofs.json"
    path.write_text(json.dumps(file.to_json()))
    return path


def begin(folder: Path, proofs: list[Proved], session: Workflow | None = None) -> subprocess.Popen[str]:
    """The program at work."""
    of = ["--workflow", str(session.pk)] if session else []
    return subprocess.Popen(
        [sys.executable, "-m", "attestations.proofs.attest", "--proofs", str(write(folder, proofs))]
        + ["--out", str(folder / "attestation.json"), *of],
        cwd=settings.BASE_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def attest(folder: Path, proofs: list[Proved], session: Workflow | None = None) -> tuple[int, list[str], str]:
    """Exit code, the lines that it has printed, and what it has said on stderr."""
    with begin(folder, proofs, session) as program:
        out, err = program.communicate(timeout=SECONDS)
    return program.returncode, out.splitlines(), err.strip()


def told(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "attestation.json").read_text())
    return read


def hashes(proofs: list[Proved]) -> list[str]:
    return [each.statement.digest.hex() for each in proofs]


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def fail(session: Workflow) -> None:
    Workflow.objects.filter(pk=session.pk).update(status="failed", failed_at=timezone.now())


def publish(what: Proved) -> Registration:
    """Publish a submission, as its job would, from any thread."""
    try:
        return register(
            Purpose.of_submission(make_published(what)),
            what.statement,
            what.proof,
            contract_address=settings.CONTRACT_ADDRESS,
            stage=lambda name, seconds: None,
            checkpoint=lambda: None,
        )
    finally:
        connection.close()


# --- Recorded --------------------------------------------------------------------------------------


def test_a_sessions_digests_are_recorded_and_verified_by_the_contract(
    tmp_path: Path, groth16: list[Proved], session: Workflow, registry: Registry, chain: Chain
) -> None:
    code, lines, err = attest(tmp_path, groth16, session)

    assert (code, err) == (0, "")
    sent = rows()
    assert [(row.workflow_id, row.submission_id, row.tenant_id) for row in sent] == [
        (session.pk, None, session.tenant_id)
    ] * 2
    assert [row.sha256_hash for row in sent] == hashes(groth16)
    assert statuses() == ["mined", "mined"]
    assert mined_of(chain) == [row.transaction_id for row in sent]
    assert told(tmp_path) == {
        "chainId": 31337,
        "contractAddress": registry.address,
        "verifiedOnChain": True,
        "transactions": [
            {
                "name": f"input-{number}",
                "sha256Hash": row.sha256_hash,
                "txHash": row.transaction_id,
                "explorerUrl": None,
                "blockNumber": row.block_number,
                "gasUsed": row.gas_used,
            }
            for number, row in enumerate(sent, 1)
        ],
    }
    assert [line for line in lines if line.startswith("transaction ")] == [
        f"transaction {row.transaction_id} -" for row in sent
    ]
    assert f"chain 31337, contract {registry.address}, sending from {SENDER}" in lines
    assert [line.partition(", nonce")[0] for line in lines if ", nonce" in line] == [
        "sent 1 of 2: input-1",
        "sent 2 of 2: input-2",
    ]
    record = registry.record_of(groth16[1].statement.digest)
    assert record is not None
    assert record.is_verified_on_chain


def test_plonk_is_verified_off_chain_and_it_says_so(
    tmp_path: Path, plonk: list[Proved], session: Workflow, registry: Registry
) -> None:
    code, lines, _ = attest(tmp_path, plonk, session)

    said = "PlonK: verified off chain, its digest is recorded"
    assert code == 0
    assert said in lines
    assert (told(tmp_path)["verifiedOnChain"], told(tmp_path)["note"]) == (False, said)
    record = registry.record_of(plonk[0].statement.digest)
    assert record is not None
    assert not record.is_verified_on_chain


def test_a_chain_with_an_explorer_has_its_links_told(
    tmp_path: Path, groth16: list[Proved], session: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAIN_EXPLORER_URL", "https://explorer.example/")

    _, lines, _ = attest(tmp_path, groth16[:1], session)

    (row,) = rows()
    url = f"https://explorer.example/tx/{row.transaction_id}"
    assert f"transaction {row.transaction_id} {url}" in lines
    assert told(tmp_path)["transactions"][0]["explorerUrl"] == url


def test_all_are_sent_before_the_first_is_waited_for(
    tmp_path: Path, groth16: list[Proved], session: Workflow, chain: Chain
) -> None:
    chain.ask("evm_setAutomine", False)

    with begin(tmp_path, groth16, session) as program:
        wait_until(lambda: waiting_in(chain) == 2)
        chain.mine()
        out, err = program.communicate(timeout=SECONDS)

    assert (program.returncode, err) == (0, "")
    assert "waiting for 1 confirmation" in out
    first, second = told(tmp_path)["transactions"]
    assert first["blockNumber"] == second["blockNumber"]


def test_a_chain_that_takes_too_long_is_waited_for_again_by_the_next_run(
    tmp_path: Path, groth16: list[Proved], session: Workflow, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.ask("evm_setAutomine", False)
    with monkeypatch.context() as patch:
        patch.setenv("CHAIN_RECEIPT_SECONDS", "1")
        code, lines, err = attest(tmp_path, groth16, session)
    assert (code, err) == (5, "No block has taken the transaction within 1 seconds.")
    assert not any(line.startswith("transaction ") for line in lines)
    left = [row.transaction_id for row in rows()]
    chain.mine()

    code, _, _ = attest(tmp_path, groth16, session)

    assert code == 0
    assert mined_of(chain) == left
    assert statuses() == ["mined", "mined"]


def waiting_in(chain: Chain) -> int:
    """Transactions in the node's pool."""
    return int(chain.ask("txpool_status")["pending"], 16)


def test_by_hand_it_is_nobodys(tmp_path: Path, groth16: list[Proved]) -> None:
    code, _, _ = attest(tmp_path, groth16[:1])

    (row,) = rows()
    assert code == 0
    assert (row.tenant_id, row.submission_id, row.workflow_id) == (None, None, None)
    assert (row.sha256_hash, row.status) == (hashes(groth16)[0], "mined")


# --- Never twice -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_by_hand", [False, True])
def test_a_second_run_finds_what_the_first_has_had_recorded(
    tmp_path: Path, groth16: list[Proved], session: Workflow, chain: Chain, *, is_by_hand: bool
) -> None:
    of = None if is_by_hand else session
    attest(tmp_path, groth16, of)
    first = told(tmp_path)

    code, lines, _ = attest(tmp_path, groth16, of)

    assert (code, told(tmp_path)) == (0, first)
    assert "found 1 of 2: input-1, the chain has it already" in lines
    assert mined_of(chain) == [each["txHash"] for each in first["transactions"]]
    assert statuses() == ["mined", "mined"]


def test_one_killed_before_it_could_send_leaves_what_the_next_run_sends(
    tmp_path: Path,
    groth16: list[Proved],
    session: Workflow,
    chain: Chain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the row and the node: the second is stored, and never arrives."""
    programs: list[subprocess.Popen[str]] = []

    def kill_at_the_second(method: str, _: Any, call: int) -> Any:
        if (method, call) == ("eth_sendRawTransaction", 2):
            programs[0].kill()
            programs[0].wait()
            return (503, b"away")
        return None

    with lying(chain.url, kill_at_the_second) as url:
        monkeypatch.setenv("CHAIN_RPC_URL", url)
        with begin(tmp_path, groth16, session) as program:
            programs.append(program)
            program.communicate(timeout=SECONDS)
    monkeypatch.setenv("CHAIN_RPC_URL", chain.url)
    assert program.returncode == -signal.SIGKILL
    left = rows()
    assert len(mined_of(chain)) == 1
    assert statuses() == ["pending", "pending"]

    code, lines, _ = attest(tmp_path, groth16, session)

    assert code == 0
    assert mined_of(chain) == [row.transaction_id for row in left]
    assert [row.transaction_id for row in rows()] == [row.transaction_id for row in left]
    assert statuses() == ["mined", "mined"]
    assert any(line.startswith("sent again, as an earlier run has signed it, 2 of 2") for line in lines)


def test_one_killed_while_it_waits_is_found_by_the_next_run(
    tmp_path: Path, groth16: list[Proved], session: Workflow, chain: Chain
) -> None:
    chain.ask("evm_setAutomine", False)
    with begin(tmp_path, groth16, session) as program:
        wait_until(lambda: waiting_in(chain) == 2)
        os.kill(program.pid, signal.SIGKILL)
        program.communicate()
    left = [row.transaction_id for row in rows()]
    chain.mine()
    chain.ask("evm_setAutomine", True)

    code, _, _ = attest(tmp_path, groth16, session)

    assert code == 0
    assert mined_of(chain) == [each["txHash"] for each in told(tmp_path)["transactions"]] == left
    assert statuses() == ["mined", "mined"]


def test_a_session_shares_the_keys_nonces_with_publishers_of_submissions(
    tmp_path: Path, groth16: list[Proved], session: Workflow, chain: Chain
) -> None:
    pictures = [prove(f"picture {number}".encode()) for number in range(6)]

    with begin(tmp_path, groth16, session) as program, ThreadPoolExecutor(3) as pool:
        published = list(pool.map(publish, pictures))
        program.communicate(timeout=SECONDS)

    assert program.returncode == 0
    mine = [each["txHash"] for each in told(tmp_path)["transactions"]]
    assert sorted(mined_of(chain)) == sorted([*mine, *(each.transaction_id for each in published)])
    mined = ChainTransaction.objects.filter(status="mined")
    assert len(mined) == len({row.nonce for row in mined}) == 8


# --- Given up --------------------------------------------------------------------------------------


def leave_unsent(
    tmp_path: Path,
    proofs: list[Proved],
    session: Workflow | None,
    chain: Chain,
    monkeypatch: pytest.MonkeyPatch,
) -> ChainTransaction:
    """A run whose one transaction is stored, and that the node does not take in."""
    away = lambda method, *_: (503, b"away") if method == "eth_sendRawTransaction" else None  # noqa: E731
    with lying(chain.url, away) as url, monkeypatch.context() as patch:
        patch.setenv("CHAIN_RPC_URL", url)
        code, _, err = attest(tmp_path, proofs, session)
    assert (code, err) == (5, "The node answers with status 503.")
    (row,) = rows()
    return row


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_the_nonce_of_a_session_that_is_over_is_taken_again(
    tmp_path: Path,
    groth16: list[Proved],
    session: Workflow,
    chain: Chain,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_forgotten: bool,
) -> None:
    left = leave_unsent(tmp_path, groth16[:1], session, chain, monkeypatch)
    if is_forgotten:
        session.delete()
    else:
        fail(session)

    registration = publish(prove(b"a picture"))

    abandoned, taken = rows()
    assert (abandoned.status, taken.status) == ("dropped", "mined")
    assert abandoned.nonce == taken.nonce == left.nonce
    assert mined_of(chain) == [registration.transaction_id]


def test_the_nonce_of_a_session_that_runs_is_its_own(
    tmp_path: Path, groth16: list[Proved], session: Workflow, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = leave_unsent(tmp_path, groth16[:1], session, chain, monkeypatch)

    registration = publish(prove(b"a picture"))

    # What comes before it is sent with it.
    assert mined_of(chain) == [left.transaction_id, registration.transaction_id]


def test_a_session_that_is_retried_goes_on_with_what_it_had_signed(
    tmp_path: Path, groth16: list[Proved], session: Workflow, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = leave_unsent(tmp_path, groth16[:1], session, chain, monkeypatch)
    fail(session)
    Workflow.objects.filter(pk=session.pk).update(status="running", failed_at=None)

    code, _, _ = attest(tmp_path, groth16[:1], session)

    assert code == 0
    assert mined_of(chain) == [left.transaction_id]


@pytest.mark.parametrize(("minutes", "is_taken"), [(59, False), (61, True)])
def test_by_hand_a_nonce_is_kept_for_an_hour(
    tmp_path: Path,
    groth16: list[Proved],
    chain: Chain,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    *,
    is_taken: bool,
) -> None:
    left = leave_unsent(tmp_path, groth16[:1], None, chain, monkeypatch)
    ChainTransaction.objects.update(created_at=timezone.now() - timedelta(minutes=minutes))

    publish(prove(b"a picture"))

    assert (left.transaction_id not in mined_of(chain)) == is_taken


def test_what_is_mined_after_its_session_ended_is_found_out(
    tmp_path: Path, groth16: list[Proved], session: Workflow, chain: Chain
) -> None:
    chain.ask("evm_setAutomine", False)
    with begin(tmp_path, groth16, session) as program:
        wait_until(lambda: waiting_in(chain) == 2)
        program.kill()
        program.communicate()
    chain.mine()
    assert reconcile_transactions(checkpoint=lambda: None)["ended"] == 0
    fail(session)

    done = reconcile_transactions(checkpoint=lambda: None)

    assert done == {"ended": 2, "rejected_but_mined": 0}
    assert statuses() == ["mined", "mined"]
    assert all(row.gas_used for row in rows())


# --- Refusals --------------------------------------------------------------------------------------


def test_a_digest_that_somebody_else_has_registered_is_refused_before_any_is_sent(
    tmp_path: Path, groth16: list[Proved], session: Workflow, registry: Registry
) -> None:
    send(registry.node, registry.record_call(groth16[1].statement.digest, 9, bytes(32)))

    code, _, err = attest(tmp_path, groth16, session)

    assert (code, err) == (6, f"The digest is registered already, by {SENDER}.")
    assert rows() == []
    assert not (tmp_path / "attestation.json").exists()


def test_a_chain_that_does_not_answer_is_said_in_a_sentence(
    tmp_path: Path, groth16: list[Proved], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAIN_RPC_URL", "http://127.0.0.1:9")

    code, _, err = attest(tmp_path, groth16)

    assert code == 5
    assert err.count("\n") == 0
    assert err.startswith("The node")


def test_a_proof_for_another_submitter_is_refused(tmp_path: Path) -> None:
    code, _, err = attest(tmp_path, [prove(submitter="0x" + "12" * 20)])

    assert (code, err) == (
        6,
        f"The proof is bound to 0x{'12' * 20}; PRIVATE_KEY is that of {SENDER}.",
    )


def test_a_proof_of_something_else_is_recorded_by_no_contract(
    tmp_path: Path, plonk: list[Proved], session: Workflow
) -> None:
    """The contract would believe it."""
    wrong = [Proved(plonk[0].statement, plonk[1].proof)]

    code, _, err = attest(tmp_path, wrong, session)

    assert (code, err) == (4, "The proof of input-1 proves nothing of its digest.")
    assert rows() == []


def test_without_a_chain_it_is_skipped(
    tmp_path: Path, groth16: list[Proved], session: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVATE_KEY", "")

    code, lines, err = attest(tmp_path, groth16, session)

    assert (code, err) == (0, "")
    assert "skipped: no chain configured" in lines
    assert told(tmp_path) == {"skipped": "no chain configured"}


def test_a_session_that_has_ended_is_refused(
    tmp_path: Path, groth16: list[Proved], session: Workflow
) -> None:
    fail(session)

    code, _, err = attest(tmp_path, groth16, session)

    assert (code, err) == (2, f"the proof session {session.pk} is failed")
    assert rows() == []


def test_a_workflow_that_is_no_session_is_refused(
    tmp_path: Path, groth16: list[Proved], tenant: Tenant
) -> None:
    other = make_workflow(tenant)

    code, _, err = attest(tmp_path, groth16, other)

    assert (code, err) == (2, f"there is no proof session {other.pk}")
