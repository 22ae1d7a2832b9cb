"""Keys are taken over those at hand if they are these with contributions; anything else is one party's word."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from attestations.models import Submission
from attestations.proofs import groth16_ceremony
from attestations.proofs.ceremony import SYSTEMS, folder_of
from attestations.proofs.circuit import statement_circuit
from attestations.proofs.groth16_ceremony import contribution_digests, first_phase
from attestations.proofs.keys import KeyFolder, KeyPair
from attestations.proofs.provers import find_prover
from jobs.models import Tenant
from tests.factories import make_submission

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_chain")]
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"


@dataclass(frozen=True)
class Stage:
    """Keys with contributions; `after` gives them with one more, which is made once."""

    keys: KeyPair
    contributions: tuple[dict[str, Any], ...] = ()
    later: dict[str, Stage] = field(default_factory=dict)

    def after(self, *names: str) -> Stage:
        if not names:
            return self
        name, *more = names
        if name not in self.later:
            keys, contribution = groth16_ceremony.contribute(self.keys, name)
            self.later[name] = Stage(keys, (*self.contributions, contribution))
        return self.later[name].after(*more)

    def stored(self, folder: Path) -> Path:
        return store(folder, self.keys, list(self.contributions))


@pytest.fixture(scope="module")
def foreign() -> Stage:
    """A whole set whose maker may know all numbers behind it."""
    return Stage(SYSTEMS["groth16"].make())


@pytest.fixture(scope="module")
def ours(session_proof_keys: Path) -> Stage:
    """The set at hand, as each test finds it."""
    with override_settings(PROOF_KEYS_DIR=session_proof_keys):
        return Stage(folder_of("groth16").load_both())


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("proof_keys", "groth16", *arguments, stdout=output)
    return output.getvalue()


def take(source: Path, *more: str) -> str:
    return run("--import", str(source), "--origin", "our ceremony", *more)


def store(folder: Path, keys: KeyPair, contributions: list[dict[str, Any]]) -> Path:
    """A set that says of itself what its maker likes."""
    KeyFolder(path=folder, system="groth16", circuit=statement_circuit().digest).replace(
        keys, origin="single-party setup", contributions=contributions, unverified_contributions=0
    )
    return folder


def digest_shown(shown: str, name: str) -> str:
    (line,) = [line for line in shown.splitlines() if name in line]
    return line.rpartition(", ")[2]


def test_what_others_contributed_to_the_keys_here_is_taken(
    own_keys: Path, settings: Any, tmp_path: Path
) -> None:
    settings.PROOF_KEYS_DIR = tmp_path / "ada"
    shutil.copytree(own_keys / "groth16", tmp_path / "ada" / "groth16")
    adas = digest_shown(run("--contribute", "Ada"), "Ada")
    settings.PROOF_KEYS_DIR = tmp_path / "grace"
    shutil.copytree(tmp_path / "ada" / "groth16", tmp_path / "grace" / "groth16")
    graces = digest_shown(run("--contribute", "Grace"), "Grace")
    made = find_prover("groth16").verifying_key_digest
    settings.PROOF_KEYS_DIR = own_keys

    shown = take(tmp_path / "grace" / "groth16")

    assert find_prover("groth16").verifying_key_digest == made
    assert "origin: single-party setup, then our ceremony" in shown
    assert (digest_shown(shown, "1: Ada"), digest_shown(shown, "2: Grace")) == (adas, graces)
    assert len({adas, graces}) == 2
    assert "not vouched for" not in shown


def test_another_set_with_contributions_in_others_names_is_refused(
    own_keys: Path, tmp_path: Path, foreign: Stage
) -> None:
    forged = foreign.after("Ada", "Mallory").stored(tmp_path / "forged")
    before = find_prover("groth16").verifying_key_digest

    with pytest.raises(CommandError, match=r"first phase is another.*--replace"):
        take(forged)

    assert find_prover("groth16").verifying_key_digest == before


def test_taken_all_the_same_it_is_the_work_of_whoever_made_it(
    own_keys: Path, tmp_path: Path, foreign: Stage
) -> None:
    forged = foreign.after("Ada", "Mallory").stored(tmp_path / "forged")

    shown = take(forged, "--replace")

    assert "origin: unverified: whoever made it says: our ceremony" in shown
    assert "contribution 1: Ada (not vouched for)" in shown
    assert "contribution 2: Mallory (not vouched for)" in shown
    assert folder_of("groth16").verified_contributions() == []


def test_what_is_added_to_an_unverified_set_makes_it_no_better(
    own_keys: Path, tmp_path: Path, foreign: Stage
) -> None:
    take(foreign.after("Ada").stored(tmp_path / "forged"), "--replace")
    run("--contribute", "Own")
    folder = folder_of("groth16")
    keys, added = groth16_ceremony.contribute(folder.load_both(), "Grace")
    later = store(tmp_path / "later", keys, [*folder.manifest()["contributions"], added])

    shown = take(later)

    assert "origin: unverified: whoever made it says: our ceremony, then our ceremony" in shown
    assert "contribution 1: Ada (not vouched for)" in shown
    assert "contribution 2: Own, " in shown
    assert [item["name"] for item in folder.verified_contributions()] == ["Own", "Grace"]


def test_a_result_that_leaves_our_contribution_out_is_refused(
    own_keys: Path, tmp_path: Path, ours: Stage
) -> None:
    without = ours.after("Mallory", "Ada").stored(tmp_path / "without")
    run("--contribute", "Own")

    with pytest.raises(CommandError, match="are not the first of theirs"):
        take(without)


def test_a_result_on_another_delta_is_refused(own_keys: Path, tmp_path: Path, ours: Stage) -> None:
    """A contribution that isn't listed may be by somebody who kept its number."""
    both = ours.after("Mallory", "Ada")
    _unlisted, listed = both.contributions

    with pytest.raises(CommandError, match="follows on the delta"):
        take(store(tmp_path / "unlisted", both.keys, [listed]))


def test_a_contributors_digest_is_of_the_first_phase_too(ours: Stage) -> None:
    later = ours.after("Grace")

    keys, [contribution] = later.keys, later.contributions

    assert first_phase(keys) == first_phase(ours.keys)
    digest = contribution_digests(keys, [contribution])
    for name in ("alpha_1", "beta_1", "beta_2", "tau_1", "tau_2"):
        other = {**keys, "proving": keys["proving"] | {name: None}}
        assert contribution_digests(other, [contribution]) != digest


def test_keys_without_contributions_are_a_word_too(
    own_keys: Path, settings: Any, tmp_path: Path, foreign: Stage
) -> None:
    foreign.stored(tmp_path / "foreign")

    with pytest.raises(CommandError, match="No contributions come with them"):
        take(tmp_path / "foreign")
    settings.PROOF_KEYS_DIR = tmp_path / "empty"

    assert "origin: unverified: whoever made it says: our ceremony" in take(tmp_path / "foreign")


@pytest.mark.parametrize("status", ["proof_generation", "proof_publishing"])
def test_keys_that_proofs_wait_for_are_replaced_only_when_told(
    own_keys: Path, tmp_path: Path, tenant: Tenant, ours: Stage, status: str
) -> None:
    make_submission(tenant, status=status)
    waiting, coming = (1, 0) if status == "proof_publishing" else (0, 1)
    result = ours.after("Grace").stored(tmp_path / "result")
    before = find_prover("groth16").verifying_key_digest

    for refused in (["--contribute", "Ada"], ["--import", str(result), "--origin", "x"]):
        with pytest.raises(CommandError, match=f"published: {waiting}; .*made: {coming}.*--replace"):
            run(*refused)
    assert find_prover("groth16").verifying_key_digest == before
    run("--contribute", "Ada", "--replace")

    assert find_prover("groth16").verifying_key_digest != before


def test_keys_that_a_contract_has_are_replaced_only_when_told(own_keys: Path, settings: Any) -> None:
    settings.CONTRACT_ADDRESS = CONTRACT

    with pytest.raises(CommandError, match=rf"{CONTRACT}.* need a new contract .*--replace"):
        run("--contribute", "Ada")

    assert "contribution 1: Ada" in run("--contribute", "Ada", "--replace")


def test_submissions_that_need_the_keys_no_more_hold_nobody_up(own_keys: Path, tenant: Tenant) -> None:
    for status in ("awaiting_review", "complete", "rejected"):
        make_submission(tenant, status=status)
    make_submission(tenant, status="proof_publishing", proof_system="plonk")

    assert "contribution 1: Ada" in run("--contribute", "Ada")


def test_a_contributor_needs_no_platform(own_keys: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {Submission._meta.db_table} RENAME TO gone")

    assert "contribution 1: Ada" in run("--contribute", "Ada")
