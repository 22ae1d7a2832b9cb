"""How outputs are looked at: who waits for whom, how often, for how long, and when a verdict is mended."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from jobs.content_types import UNKNOWN
from jobs.evaluator import looks, outputs
from jobs.evaluator.looks import Failures
from jobs.evaluator.outputs import check_outputs
from jobs.evaluator.rules import TOO_EARLY
from jobs.evaluator.runs import evaluate
from jobs.models import Tenant, Workflow
from jobs.models.evaluation import NOT_EVALUATED
from jobs.models.evaluations import OutputCheck
from tests.jobs.outputs import (
    MISMATCH,
    MISSING,
    PNG,
    at,
    find,
    look,
    made,
    typed,
    verdicts_on,
)
from tests.receivers import Conversation, Receiver, answer, hang_up, in_turn, never
from tests.units import Place, make_generation

LONG_AGO = timedelta(hours=2)


@pytest.fixture(autouse=True)
def _storage(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts have a fifth of a second to answer."""
    monkeypatch.setattr(looks, "REQUEST_SECONDS", 0.2)


def unevaluated(workflow: Workflow) -> None:
    """What any later change of a unit does."""
    Workflow.objects.filter(pk=workflow.pk).update(**NOT_EVALUATED)


# --- Hosts that don't answer -----------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [answer(503), answer(429), hang_up])
def test_a_host_that_can_not_be_reached_is_tried_three_times(
    tenant: Tenant, receiver: Receiver, behaviour: Any
) -> None:
    receiver.behaviour = behaviour
    named = made(tenant, {"url": at(receiver, "weights.bin")})
    nameless = made(tenant, {"url": at(receiver, "x")})

    early = [verdicts_on(named, nameless) for _ in range(2)]
    late = verdicts_on(named, nameless)

    assert early == [{named.pk: TOO_EARLY, nameless.pk: TOO_EARLY}] * 2
    assert late == {}  # what could not be looked at is nobody's fault
    assert set(OutputCheck.objects.values_list("workflow_id", "status", "tries")) == {
        (named.pk, "matches", 3),
        (nameless.pk, "unreachable", 3),
    }
    assert len(receiver.requests) == 6


def test_what_was_not_looked_at_is_noted_and_waits(tenant: Tenant, receiver: Receiver) -> None:
    workflow = made(tenant, {"url": at(receiver, "x.bin")})

    look(workflow, seconds=0)

    assert [finding.problem_type for finding in find(workflow)] == [TOO_EARLY]
    assert [(check.status, check.tries) for check in OutputCheck.objects.all()] == [("unreachable", 0)]
    assert receiver.requests == []


def test_nothing_is_begun_without_its_full_time(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed(UNKNOWN)
    workflow = made(tenant, {"url": at(receiver, "x")})

    look(workflow, seconds=looks.REQUEST_SECONDS - 0.1)

    assert receiver.requests == []
    assert OutputCheck.objects.get().tries == 0


def test_the_time_is_kept(tenant: Tenant, receiver: Receiver, impatient: None) -> None:
    receiver.behaviour = never
    silent = [made(tenant, {"url": at(receiver, f"{n}.bin")}) for n in range(40)]
    began = time.monotonic()

    look(*silent, seconds=1.0)

    assert time.monotonic() - began < 2.0
    assert {finding.problem_type for finding in find(*silent)} == {TOO_EARLY}


def test_a_host_that_fails_twice_is_not_asked_again_in_the_same_run(
    tenant: Tenant, receiver: Receiver, impatient: None
) -> None:
    receiver.behaviour = never
    first = [made(tenant, {"url": at(receiver, f"{n}.bin")}) for n in range(20)]
    second = made(tenant, {"url": at(receiver, "later.bin")})
    failures = Failures()

    check_outputs([workflow.pk for workflow in first], budget_seconds=5, failures=failures)
    check_outputs([second.pk], budget_seconds=5, failures=failures)

    asked = len(receiver.requests)
    assert asked < looks.HOST_FAILURES_MAX + looks.HOST_IN_FLIGHT_MAX  # one may be on its way at the second
    assert set(OutputCheck.objects.values_list("status", "tries")) == {("unreachable", 1)}
    assert OutputCheck.objects.filter(detail__contains="host_silent").count() == 21 - asked


def test_a_host_that_fails_now_and_then_is_asked_on(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = in_turn(hang_up, typed(UNKNOWN), hang_up, typed(UNKNOWN))
    workflow = made(tenant, [at(receiver, f"{n}.bin") for n in range(6)])

    look(workflow)

    assert OutputCheck.objects.filter(status="matches").count() >= 4
    assert not OutputCheck.objects.filter(detail__contains="host_silent").exists()


def test_hosts_that_hang_hold_up_no_other_tenant(
    tenant: Tenant, other_tenant: Tenant, receiver: Receiver, impatient: None
) -> None:
    async def hang_for_some(conversation: Conversation) -> bool:
        return await (never if "silent" in conversation.request.path else typed(UNKNOWN))(conversation)

    receiver.behaviour = hang_for_some
    urls = [at(receiver, f"silent-{n}.bin") for n in range(20)]
    silent = [made(tenant, urls) for _ in range(30)]
    honest = made(other_tenant, {"url": at(receiver, "honest.bin")})

    look(*silent, honest, seconds=0.5)

    assert find(honest) == []
    assert {finding.problem_type for finding in find(*silent)} == {TOO_EARLY}


def test_a_tenant_with_many_hosts_that_hang_leaves_slots_to_others(
    tenant: Tenant, other_tenant: Tenant, receiver: Receiver, impatient: None
) -> None:
    receiver.behaviour = typed(UNKNOWN)
    honest = looks.Wanted(other_tenant.pk, at(receiver, "honest.bin"))
    with socket.create_server(("", 0), backlog=1_000) as deaf:  # takes connections, and reads nothing
        port = deaf.getsockname()[1]
        silent = [looks.Wanted(tenant.pk, f"http://127.0.0.{n}:{port}/x.bin") for n in range(2, 200)]

        seen = looks.look_at([*silent, honest], seconds=0.5, failures=Failures())

    assert seen.pop(honest).header == UNKNOWN
    assert 0 < len(seen) < len(silent)
    assert {look.obstacle for look in seen.values()} == {"timed_out"}


# --- How long a unit waits -------------------------------------------------------------------------


def test_an_hour_after_its_end_a_workflow_is_judged_by_what_is_known(
    tenant: Tenant, receiver: Receiver
) -> None:
    old = timezone.now() - LONG_AGO
    named = made(tenant, {"url": at(receiver, "x.bin")}, completed_at=old)
    contradicted = made(tenant, {"url": at(receiver, "x.jpg"), "content_type": "image/png"}, completed_at=old)
    nameless = made(tenant, {"url": at(receiver, "x")}, completed_at=old)

    look(named, contradicted, nameless, seconds=0)

    assert [(finding.unit_id, finding.problem_type) for finding in find(named, contradicted, nameless)] == [
        (contradicted.pk, MISMATCH)
    ]
    assert receiver.requests == []


def test_what_was_noted_of_an_old_workflow_never_keeps_it_waiting(tenant: Tenant, receiver: Receiver) -> None:
    workflow = made(tenant, {"url": at(receiver, "x.bin")})
    look(workflow, seconds=0)

    Workflow.objects.update(completed_at=timezone.now() - LONG_AGO)

    assert find(workflow) == []


def test_an_old_workflow_is_looked_at_once_where_there_is_time(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed(UNKNOWN, PNG)
    workflow = made(tenant, {"url": at(receiver, "x.bin")}, completed_at=timezone.now() - LONG_AGO)

    assert verdicts_on(workflow) == {workflow.pk: MISMATCH}


# --- Files that are not there ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour", [answer(404), answer(410), answer(200), answer(416, [("Content-Range", "bytes */0")])]
)
def test_a_file_is_missing_when_three_runs_have_not_found_it(
    tenant: Tenant, receiver: Receiver, behaviour: Any
) -> None:
    receiver.behaviour = behaviour
    workflow = made(tenant, {"url": at(receiver, "x.bin")})

    found = [verdicts_on(workflow) for _ in range(3)]

    assert found == [{workflow.pk: TOO_EARLY}] * 2 + [{workflow.pk: MISSING}]
    assert find(workflow)[0].missing.endswith((" is not there.", " is empty."))


def test_a_file_that_comes_late_is_no_problem(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = in_turn(answer(404), answer(200), typed(UNKNOWN))
    workflow = made(tenant, {"url": at(receiver, "x.bin")})

    found = [verdicts_on(workflow) for _ in range(3)]

    assert found == [{workflow.pk: TOO_EARLY}] * 2 + [{}]


def test_an_artifact_of_ours_that_is_gone_or_empty_is_missing(tenant: Tenant) -> None:
    start = "http://127.0.0.1:8000/artifacts/"
    empty = default_storage.save("acme/1/token/empty.bin", ContentFile(b""))
    names = [empty, "acme/1/token/out.bin", "../../etc/passwd"]
    workflows = [made(tenant, {"url": start + name}) for name in names]

    assert verdicts_on(*workflows) == {workflow.pk: MISSING for workflow in workflows}
    assert find(workflows[0])[0].missing.endswith("/empty.bin is empty.")
    assert find(workflows[1])[0].missing.endswith("/out.bin is not there.")


# --- Verdicts that are mended ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "problem"), [(answer(404), "missing_output"), (typed(UNKNOWN, PNG), "content_type_mismatch")]
)
def test_a_reopened_unit_is_looked_at_again(
    tenant: Tenant, receiver: Receiver, before: Any, problem: str
) -> None:
    receiver.behaviour = before
    workflow = make_generation(Place.of(tenant), outputs=[at(receiver, "x.bin")])
    evaluate()
    workflow.refresh_from_db()
    found = workflow.problem_type

    receiver.behaviour = typed(UNKNOWN)
    unevaluated(workflow)
    evaluate()

    workflow.refresh_from_db()
    assert found == problem
    assert (workflow.status_category, workflow.problem_type) == ("complete", "")


def test_a_reopened_unit_whose_host_does_not_answer_keeps_its_verdict(
    tenant: Tenant, receiver: Receiver
) -> None:
    receiver.behaviour = typed(UNKNOWN, PNG)
    workflow = made(tenant, {"url": at(receiver, "x.bin")})
    look(workflow)

    receiver.behaviour = answer(503)

    assert verdicts_on(workflow) == {workflow.pk: MISMATCH}
    assert len(receiver.requests) == 2


def test_what_matched_is_not_looked_at_again(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed(UNKNOWN)
    workflow = made(tenant, {"url": at(receiver, "x.bin")})

    assert [verdicts_on(workflow) for _ in range(2)] == [{}, {}]
    assert len(receiver.requests) == 1


def test_a_retry_is_looked_at_anew(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed(UNKNOWN, PNG)
    workflow = made(tenant, {"url": at(receiver, "x.bin")})
    look(workflow)
    Workflow.objects.update(attempt=2)
    receiver.behaviour = typed(UNKNOWN)

    early = find(workflow)
    later = verdicts_on(workflow)

    assert [finding.problem_type for finding in early] == [TOO_EARLY]
    assert later == {}


@pytest.mark.parametrize("name", ["x.bin", "x.png"])
def test_a_retry_that_completed_since_its_chunk_was_looked_at_waits(
    tenant: Tenant, receiver: Receiver, name: str
) -> None:
    receiver.behaviour = typed(UNKNOWN)
    workflow = made(tenant, {"url": at(receiver, name)})
    Workflow.objects.update(status="failed", failed_at=timezone.now(), completed_at=None)
    look(workflow)
    Workflow.objects.update(status="completed", completed_at=timezone.now(), failed_at=None, attempt=2)

    early = find(workflow)
    later = verdicts_on(workflow)

    assert [finding.problem_type for finding in early] == [TOO_EARLY]
    assert later == {}


# --- What is bounded -------------------------------------------------------------------------------


def test_of_one_workflow_only_so_many_are_looked_at(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed(UNKNOWN)
    workflow = made(tenant, [at(receiver, f"{n}.bin") for n in range(50)])

    assert verdicts_on(workflow) == {}
    assert len(receiver.requests) == outputs.LOOKED_AT_MAX


def test_types_are_not_looked_for_in_large_results(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed("image/png", PNG)
    wrong = {"url": at(receiver, "x.png"), "content_type": "image/jpeg"}
    small, large = (
        made(tenant, wrong),
        made(tenant, {**wrong, "log": "la " * 20_000}),
    )  # small once compressed

    assert verdicts_on(small, large) == {small.pk: MISMATCH}


def test_a_long_address_is_cut_where_it_is_told(tenant: Tenant, receiver: Receiver) -> None:
    receiver.behaviour = typed("image/png", PNG)
    long = made(tenant, {"url": at(receiver, "x" * 1_000 + ".bin")})
    longest = made(tenant, {"url": at(receiver, "x" * 200_000 + ".bin")})
    look(long, longest)

    (finding,) = find(long, longest)

    assert finding.unit_id == long.pk
    assert len(finding.missing) < 400
    assert len(finding.where["url"]) == outputs.URL_CHARS_SHOWN + 1


def test_the_statements_do_not_grow_with_the_units(
    tenant: Tenant, receiver: Receiver, statements: list[str]
) -> None:
    receiver.behaviour = typed(UNKNOWN, PNG)

    def cost(workflows: Iterable[Workflow]) -> int:
        statements.clear()
        verdicts_on(*workflows)
        return len(statements)

    few = cost([made(tenant, {"url": at(receiver, "x.bin")})])
    many = cost([made(tenant, {"url": at(receiver, f"{n}.bin")}) for n in range(30)])

    assert few == many == 4


def test_the_rule_reads_what_was_noted_and_no_output(
    tenant: Tenant, receiver: Receiver, statements: list[str]
) -> None:
    receiver.behaviour = typed(UNKNOWN, PNG)
    workflows = [made(tenant, {"url": at(receiver, f"{n}.bin")}) for n in range(3)]
    look(*workflows)
    statements.clear()

    assert len(find(*workflows)) == 3
    (statement,) = statements
    assert "jobs_outputcheck" in statement
    assert "w.outputs" not in statement
    assert "step.result" not in statement
