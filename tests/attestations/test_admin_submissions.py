"""Submissions in the admin: the review queue, what a page tells, and what a reviewer does."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import get_messages
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from attestations.admin.pipeline import ADVICE
from attestations.admin.submissions import word_of
from attestations.chain.errors import REASONS
from attestations.models import ChainTransaction, Submission
from attestations.services.submissions import GENERATE, PUBLISH, approve_submission
from jobs.admin.displays import BADGES, badge
from jobs.models import Job, Tenant, Workflow
from tests.factories import (
    make_attestation,
    make_operator,
    make_submission,
    make_superuser,
    make_transaction,
    make_workflow,
)
from tests.operations import came_to, ended_alone

LIST = reverse("admin:attestations_submission_changelist")
CHAIN = {
    "CHAIN_RPC_URL": "http://127.0.0.1:1",
    "PRIVATE_KEY": "0x" + "11" * 32,
    "CONTRACT_ADDRESS": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
}
HOSTILE = '</pre><script>alert("x")</script>'


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(make_superuser("alice"))
    return client


@pytest.fixture
def viewer(db: None) -> Client:
    client = Client()
    client.force_login(make_operator("attestations.view_submission"))
    return client


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def shown(client: Client, url: str, **query: str) -> str:
    response = client.get(url, query)
    assert response.status_code == 200
    return response.content.decode()


def act(client: Client, action: str, *rows: Submission, **fields: str) -> Any:
    return client.post(LIST, {"action": action, "_selected_action": [str(row.pk) for row in rows], **fields})


def told(response: Any) -> list[str]:
    return sorted(str(message) for message in get_messages(response.wsgi_request))


def found(client: Client, term: str) -> set[str]:
    response = client.get(LIST, {"q": term})
    return {str(row.pk) for row in response.context["cl"].result_list}


def approved(tenant: Tenant, **fields: Any) -> tuple[Submission, Job, Job]:
    """A submission that was approved, with its two jobs."""
    submission = approve_submission(make_submission(tenant), by="alice")
    for name, value in fields.items():
        setattr(submission, name, value)
    submission.save()
    jobs = Job.objects.filter(workflow=submission.workflow)
    return submission, jobs.get(kind=GENERATE), jobs.get(kind=PUBLISH)


def step(client: Client, submission: Submission, number: int) -> dict[str, Any]:
    """One of the five steps as the page has it, counted from 1."""
    steps: list[dict[str, Any]] = client.get(page_of(submission)).context["pipeline"]
    return steps[number - 1]


# --- The list ---------------------------------------------------------------------------------------


def test_the_list_shows_the_picture_and_where_it_is(operator: Client, tenant: Tenant) -> None:
    row = make_submission(
        tenant, image="acme/submissions/token/a.png", image_content_type="image/png", image_bytes=34_900
    )

    html = shown(operator, LIST)

    assert '<img src="/artifacts/acme/submissions/token/a.png"' in html
    assert "PNG, 34 KB" in html
    assert f'data-copy="{row.sha256_hash}"' in html
    assert badge("awaiting review") in html


@pytest.mark.parametrize("status", Submission.Status.values)
def test_a_submission_of_every_status_is_shown(operator: Client, tenant: Tenant, status: str) -> None:
    row = make_submission(tenant, status=status)

    for url in (LIST, page_of(row)):
        assert badge(word_of(row)) in shown(operator, url)
    assert len(operator.get(page_of(row)).context["pipeline"]) == 5


def test_every_word_has_its_badge() -> None:
    statuses = {status.replace("_", " ") for status in Submission.Status.values}
    words = {*Submission.Decision.values, *ChainTransaction.Status.values, *Job.Status.values}

    assert statuses | words | {"skipped", "not yet", "not reached"} <= set(BADGES)


def test_the_filter_by_status_begins_with_what_is_to_be_reviewed(operator: Client, tenant: Tenant) -> None:
    mine = make_submission(tenant)
    make_submission(tenant, status="rejected")

    response = operator.get(LIST, {"status__exact": "awaiting_review"})

    assert [row.pk for row in response.context["cl"].result_list] == [mine.pk]
    assert Submission.Status.values[0] == "awaiting_review"


def test_a_submission_is_found_by_whatever_names_it(operator: Client, tenant: Tenant) -> None:
    transaction_id = "0x" + "ab" * 32
    row = make_submission(
        tenant,
        status="complete",
        transaction_id=transaction_id,
        user_id="u-7",
        trace_id="7" * 32,
        decided_by="bob",
        runs=1,
    )
    replaced = make_transaction(row, transaction_id="0x" + "cd" * 32)
    make_submission(tenant)

    for term in (
        str(row.pk),
        row.sha256_hash,
        row.sha256_hash.upper(),
        f"0x{row.sha256_hash}",
        transaction_id[:20],
        replaced.transaction_id,
        "u-7",
        "7" * 32,
        "bob",
        f"submission-{row.pk}",
        f"submission-{row.pk}-run-2",
    ):
        assert found(operator, term) == {str(row.pk)}, term
    assert found(operator, "nobody") == set()


def test_a_published_one_is_found_by_a_transaction_that_is_not_ours(operator: Client, tenant: Tenant) -> None:
    row = make_submission(tenant, status="complete", transaction_id="0x" + "ef" * 32)

    assert found(operator, "0x" + "ef" * 32) == {str(row.pk)}


def test_a_transaction_leads_to_its_explorer_or_is_local(operator: Client, tenant: Tenant) -> None:
    abroad = make_submission(tenant, status="complete", chain_id=421614)
    make_submission(tenant, status="complete", chain_id=31337)

    html = shown(operator, LIST)

    assert html.count(f'href="https://sepolia.arbiscan.io/tx/{abroad.transaction_id}"') == 1
    assert html.count("local chain") == 1


def test_a_list_leaves_proofs_where_they_are(
    operator: Client, tenant: Tenant, django_assert_num_queries: Any
) -> None:
    make_submission(tenant, status="proof_publishing")
    shown(operator, LIST)

    with django_assert_num_queries(10) as captured:
        shown(operator, LIST)

    assert not [query for query in captured if "proof_json" in query["sql"]]


# --- The page ---------------------------------------------------------------------------------------


def test_the_page_shows_picture_statement_and_links(operator: Client, tenant: Tenant) -> None:
    submission, generate, _ = approved(
        tenant, image="acme/submissions/token/a.png", submitter="0x" + "1" * 40
    )
    attestation = make_attestation(generate, workflow=submission.workflow)

    html = shown(operator, page_of(submission))

    assert '<img src="/artifacts/acme/submissions/token/a.png"' in html
    digest = submission.sha256_hash
    for text in (f"0x{digest[:32]}", f"0x{digest[32:]}", "0x" + "1" * 40, attestation.attestation_key):
        assert text in html
    assert submission.workflow is not None
    for row in (submission.workflow, generate, tenant):
        assert f'href="{page_of(row)}"' in html


def test_hostile_words_are_shown_as_words(operator: Client, tenant: Tenant) -> None:
    row = make_submission(
        tenant,
        status="rejected",
        user_id=HOSTILE,
        decided_by=HOSTILE,
        decision="rejected",
        decision_reason=HOSTILE,
        failure_reason=HOSTILE,
    )
    make_transaction(row, error=HOSTILE)
    stored = make_submission(tenant, status="proof_publishing", proof_json=json.dumps({HOSTILE: HOSTILE}))

    for url in (LIST, page_of(row), page_of(stored)):
        assert HOSTILE not in shown(operator, url)


def test_a_proof_is_shown_while_it_is_stored(operator: Client, tenant: Tenant) -> None:
    proof = {"system": "groth16", "a": ["0x1f", "0x2e"]}
    row = make_submission(tenant, status="proof_publishing", proof_json=json.dumps(proof))

    shown_proof = operator.get(page_of(row)).context["proof"]

    assert json.loads("".join(text for _, text in shown_proof.tokens)) == proof
    assert operator.get(page_of(make_submission(tenant))).context["proof"] is None


def test_the_steps_tell_what_each_took(operator: Client, tenant: Tenant) -> None:
    row = make_submission(
        tenant,
        status="complete",
        runs=1,
        proof_digest="d" * 64,
        generation_stages={"prove": 0.163, "setup": 1.5, "verify": 0.02},
        publishing_retry_count=2,
        publishing_stages={"confirm": 6.31, "load": 0.04, "send": 0.8},
        block_number=1_234,
    )

    steps = operator.get(page_of(row)).context["pipeline"]

    took = [[(stage["name"], stage["took"]) for stage in each["stages"]] for each in steps]
    assert took[2] == [("setup", "1.5 s"), ("prove", "163 ms"), ("verify", "20 ms")]
    assert took[3] == [("load", "40 ms"), ("send", "800 ms"), ("confirm", "6.3 s")]
    assert steps[3]["notes"] == ["Tried again 2 times."]
    assert steps[4]["notes"] == ["In block 1,234."]


def test_a_step_that_waits_says_for_what_and_how_long(operator: Client, tenant: Tenant) -> None:
    submission, generate, publish = approved(
        tenant, status="proof_publishing", proof_json="{}", proof_digest="d" * 64, publishing_retry_count=1
    )
    Job.objects.filter(pk=generate.pk).update(status="completed", completed_at=timezone.now())
    now = timezone.now()
    Job.objects.filter(pk=publish.pk).update(
        status="queued",
        attempt=2,
        run_at=now + timedelta(minutes=4, seconds=30),
        expires_at=now + timedelta(hours=23, seconds=30),
        error={"code": "chain_unavailable", "message": "The node can't be reached."},
    )

    waiting = step(operator, submission, 4)

    assert waiting["badge"] == badge("waiting")
    assert waiting["notes"][0] == "Tried again 1 time."
    assert waiting["notes"][1].startswith("Next try in 4 min")
    assert waiting["notes"][1].endswith("attempt 3 of 11.")
    assert waiting["notes"][2:] == ["The node can't be reached.", "It is given up in 23 h."]
    assert step(operator, submission, 3)["badge"] == badge("completed")


def test_what_runs_and_what_is_due_say_so(operator: Client, tenant: Tenant) -> None:
    submission, generate, _ = approved(tenant)

    due = step(operator, submission, 3)
    Job.objects.filter(pk=generate.pk).update(
        status="running",
        attempt=1,
        lease_token=generate.pk,
        lease_expires_at=timezone.now() + timedelta(seconds=30),
        started_at=timezone.now(),
        worker="somebody",
    )
    running = step(operator, submission, 3)

    assert (due["badge"], due["notes"]) == (badge("queued"), ["Due now, attempt 1 of 3."])
    assert (running["badge"], running["notes"]) == (badge("running"), ["Attempt 1 of 3 is at it."])
    assert step(operator, submission, 4)["badge"] == badge("not yet")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("no chain configured", "Set CHAIN_RPC_URL"),
        ("the proof is bound to another submitter", "proved anew"),
    ],
)
def test_what_was_skipped_says_why_and_what_to_do(
    operator: Client, tenant: Tenant, reason: str, advice: str
) -> None:
    row = make_submission(tenant, status="proof_publishing", proof_digest="d" * 64, skipped_reason=reason)

    html = shown(operator, page_of(row))

    assert f"Not published: {reason}." in html
    assert advice in html
    assert step(operator, row, 4)["badge"] == badge("skipped")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("out_of_memory", "Raise PROOF_MEMORY_MB"),
        ("timed_out", "Raise PROOF_SECONDS"),
        ("keys_damaged", "PROOF_KEYS_DIR"),
        ("prover_not_installed", "PROVERS"),
        ("prover_failed", "may be submitted again"),
    ],
)
def test_a_failure_says_what_to_do_about_it(operator: Client, tenant: Tenant, code: str, advice: str) -> None:
    submission, generate, _ = approved(
        tenant, status="rejected", failed_at=timezone.now(), failure_reason="It took more."
    )
    Job.objects.filter(pk=generate.pk).update(
        status="failed", failed_at=timezone.now(), error={"code": code, "message": "It took more."}
    )

    response = operator.get(page_of(submission))

    assert advice in response.context["to_do"]
    assert step(operator, submission, 3)["badge"] == badge("failed")
    assert step(operator, submission, 4)["badge"] == badge("not reached")


def test_there_is_advice_for_whatever_the_contract_refuses() -> None:
    assert set(REASONS.values()) <= set(ADVICE)


def test_a_submission_whose_jobs_are_forgotten_is_shown(operator: Client, tenant: Tenant) -> None:
    submission, *_ = approved(tenant, status="rejected", failed_at=timezone.now(), failure_reason="Expired.")
    Job.objects.all().delete()
    Workflow.objects.all().delete()

    html = shown(operator, page_of(submission))

    assert "Expired." in html
    assert step(operator, submission, 3)["badge"] == badge("failed")


def test_transactions_are_listed_to_who_may_see_them(
    operator: Client, viewer: Client, tenant: Tenant
) -> None:
    row = make_submission(tenant, status="complete")
    transaction = make_transaction(row, status="dropped", nonce=7, error="Another was mined.", raw="0xsecret")

    seen, unseen = shown(operator, page_of(row)), shown(viewer, page_of(row))

    for text in (page_of(transaction), "1.5 gwei", "Another was mined.", badge("dropped")):
        assert text in seen
        assert text not in unseen
    assert "0xsecret" not in seen
    assert "0xsecret" in shown(operator, page_of(transaction))
    assert "0xsecret" not in shown(operator, reverse("admin:attestations_chaintransaction_changelist"))


@pytest.mark.parametrize("count", [1, 10])
def test_a_page_costs_the_same_however_long_its_story(
    operator: Client, tenant: Tenant, django_assert_num_queries: Any, count: int
) -> None:
    ContentType.objects.get_for_models(Submission)
    submission, generate, _ = approved(tenant)
    for number in range(count):
        make_transaction(submission)
        make_attestation(generate, workflow=submission.workflow, attestation_key=f"attempt {number}")

    # Session, account, submission, runs, jobs, transactions, attestations.
    with django_assert_num_queries(8):
        shown(operator, page_of(submission))


def test_a_workflow_leads_to_its_submission(operator: Client, tenant: Tenant) -> None:
    submission, *_ = approved(tenant)
    assert submission.workflow is not None
    blind = Client()
    blind.force_login(make_operator("jobs.view_workflow"))

    assert f'href="{page_of(submission)}"' in shown(operator, page_of(submission.workflow))
    assert f'href="{page_of(submission)}"' not in shown(blind, page_of(submission.workflow))


def test_an_earlier_run_leads_to_its_submission_too(operator: Client, tenant: Tenant) -> None:
    submission, *_ = approved(tenant)
    first = submission.workflow
    submission.runs = 2
    submission.workflow = make_workflow(
        tenant, workflow_id=f"submission-{submission.pk}-run-2", kind="submission"
    )
    submission.save()
    assert first is not None

    html = shown(operator, page_of(submission))

    assert f'href="{page_of(first)}"' in html
    assert f'href="{page_of(submission.workflow)}"' in html
    assert f'href="{page_of(submission)}"' in shown(operator, page_of(first))


def test_the_overview_names_what_is_to_be_reviewed(operator: Client, viewer: Client, tenant: Tenant) -> None:
    index = reverse("admin:index")
    before = shown(operator, index)
    make_submission(tenant)
    make_submission(tenant)
    blind = Client()
    blind.force_login(make_operator("jobs.view_job"))

    assert "to be reviewed" not in before
    assert "2 to be reviewed" in shown(operator, index)
    assert "2 to be reviewed" in shown(viewer, index)
    assert "to be reviewed" not in shown(blind, index)


# --- The verbs --------------------------------------------------------------------------------------


def test_one_is_approved_from_its_page(operator: Client, tenant: Tenant) -> None:
    row = make_submission(tenant)

    asked = act(operator, "approve_submissions", row, from_page="1")
    unchanged = Submission.objects.get().status
    response = act(operator, "approve_submissions", row, from_page="1", confirmed="1", reason="Her own.")

    row.refresh_from_db()
    assert "Approve 1 submission?" in asked.content.decode()
    assert unchanged == "awaiting_review"
    assert response["Location"] == page_of(row)
    assert told(response) == ["1 submission approved."]
    assert (row.status, row.decided_by, row.decision_reason) == ("proof_generation", "alice", "Her own.")
    assert LogEntry.objects.get().get_change_message() == "Approve: approved. Her own."


def test_several_are_approved_and_the_refused_are_counted(operator: Client, tenant: Tenant) -> None:
    rows = [make_submission(tenant), make_submission(tenant), make_submission(tenant, status="complete")]

    operation = ended_alone(act(operator, "approve_submissions", *rows, confirmed="1"))

    assert came_to(operation) == (
        {"approved": 2},
        {"The submission is complete; only one that awaits review is approved.": 1},
    )
    assert Submission.objects.filter(status="proof_generation").count() == 2


def test_rejecting_asks_for_a_reason(operator: Client, tenant: Tenant) -> None:
    row = make_submission(tenant)

    asked = act(operator, "reject_submissions", row)
    without = act(operator, "reject_submissions", row, confirmed="1", reason="  ")
    unchanged = Submission.objects.get().status
    response = act(operator, "reject_submissions", row, confirmed="1", reason="A copy.", from_page="1")

    row.refresh_from_db()
    assert 'aria-label="Reason" required' in asked.content.decode()
    assert "Reject 1 submission?" in without.content.decode()
    assert told(without) == ["Say why."]
    assert unchanged == "awaiting_review"
    assert told(response) == ["1 submission rejected."]
    assert (row.status, row.failure_reason) == ("rejected", "Rejected by alice: A copy.")


def test_what_was_skipped_is_published_from_its_page(operator: Client, tenant: Tenant, settings: Any) -> None:
    row = make_submission(tenant, status="proof_publishing", skipped_reason="no chain configured")

    refused = told(act(operator, "publish_submissions", row, confirmed="1", from_page="1"))
    for name, value in CHAIN.items():
        setattr(settings, name, value)
    response = act(operator, "publish_submissions", row, confirmed="1", from_page="1")

    row.refresh_from_db()
    assert refused == ["1 submission refused: It can't be published yet: no chain configured."]
    assert "1 submission on the way to the chain." in told(response)
    assert (row.skipped_reason, row.runs) == ("", 1)


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        ("awaiting_review", ["Approve", "Reject"]),
        ("proof_generation", ["Reject"]),
        ("proof_publishing", ["Reject"]),
        ("complete", []),
        ("rejected", []),
    ],
)
def test_a_page_offers_what_its_state_allows(
    operator: Client, tenant: Tenant, status: str, offered: list[str]
) -> None:
    row = make_submission(tenant, status=status)

    assert [verb.title for verb in operator.get(page_of(row)).context["verbs"]] == offered


def test_a_skipped_one_offers_to_publish_it(operator: Client, tenant: Tenant) -> None:
    row = make_submission(tenant, status="proof_publishing", skipped_reason="no chain configured")

    offered = [verb.title for verb in operator.get(page_of(row)).context["verbs"]]

    assert offered == ["Reject", "Publish"]


def test_a_viewer_sees_no_buttons_and_is_refused(viewer: Client, tenant: Tenant) -> None:
    row = make_submission(tenant)

    html = shown(viewer, page_of(row))
    for action in ("approve_submissions", "reject_submissions", "publish_submissions"):
        act(viewer, action, row, confirmed="1", reason="mine")

    row.refresh_from_db()
    assert "approve_submissions" not in html
    assert "reject_submissions" not in shown(viewer, LIST)
    assert (row.status, row.decision) == ("awaiting_review", "")


def test_a_reviewer_without_a_superusers_rights_approves(tenant: Tenant) -> None:
    client = Client()
    client.force_login(make_operator("attestations.view_submission", "attestations.change_submission"))
    row = make_submission(tenant)

    operation = ended_alone(act(client, "approve_submissions", row, confirmed="1"))

    assert operation.done_count == 1
    assert Submission.objects.get(pk=row.pk).status == "proof_generation"


def test_a_picture_is_served_by_us(operator: Client, tenant: Tenant, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    content = b"\x89PNG\r\n\x1a\n" + b"\0" * 24
    stored = tmp_path / "acme" / "submissions" / "token" / "a.png"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(content)
    row = make_submission(
        tenant, image="acme/submissions/token/a.png", sha256_hash=hashlib.sha256(content).hexdigest()
    )

    path = operator.get(page_of(row)).context["picture"]

    assert b"".join(operator.get(path).streaming_content) == content  # type: ignore[attr-defined]
