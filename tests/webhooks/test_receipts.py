"""One receipt and one effect per call, however often and however many at once it comes; few of what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.utils import timezone

from jobs.ids import uuid7
from jobs.models import Event, Job, Tenant, Workflow
from tests.factories import make_tenant, make_workflow
from tests.webhooks.calls import (
    COMPLETED,
    MINIAPP,
    NOTIFIED,
    PATHS,
    encoded,
    make_sender,
    plain,
    post,
    send,
    standard,
)
from webhooks.models import Receipt
from webhooks.services import receipts
from webhooks.services.receipts import REFUSED_KEPT, Allowance, Incoming, store_refusal

CONTENT = {"workflow_id": "order-7", "user_id": "user-1"}
WEEK = 7 * 86_400


@pytest.fixture
def workflow(tenant: Tenant) -> Workflow:
    return make_workflow(tenant, status="completed", **CONTENT)


def assert_duplicate(first: Any, second: Any) -> None:
    """The second call was answered with the first receipt."""
    assert (first.status_code, second.status_code) == (200, 200)
    before, after = first.json(), second.json()
    assert (before.pop("is_duplicate"), after.pop("is_duplicate")) == (False, True)
    assert (before.pop("trace_id"), after.pop("trace_id")) == (first["X-Trace-Id"], second["X-Trace-Id"])
    assert before == after


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_comes_again_is_a_duplicate(workflow: Workflow, secret: str, path: str) -> None:
    first, second = send(path, CONTENT, secret), send(path, CONTENT, secret)

    assert_duplicate(first, second)
    receipt = Receipt.objects.get()
    assert str(receipt.pk) == first.json()["receipt_id"]
    assert receipt.trace_id == first["X-Trace-Id"]
    assert (receipt.duplicate_count, receipt.key) == (1, receipt.digest)
    assert receipt.last_duplicate_at
    assert Event.objects.count() + Job.objects.count() == 1


def test_an_id_that_comes_again_is_a_duplicate_whatever_it_says(workflow: Workflow, secret: str) -> None:
    other = {**CONTENT, "method": "push"}

    first = post(NOTIFIED, CONTENT, standard(secret, CONTENT))
    later = post(NOTIFIED, CONTENT, standard(secret, CONTENT, at=timezone.now().timestamp() + 5))
    changed = post(NOTIFIED, other, standard(secret, other))

    assert_duplicate(first, later)
    assert changed.json()["receipt_id"] == first.json()["receipt_id"]
    assert (Receipt.objects.get().key, Receipt.objects.get().duplicate_count) == ("msg_1", 2)


@pytest.mark.parametrize("is_replay_first", [False, True])
def test_a_replay_that_has_lost_its_id_is_a_duplicate(
    workflow: Workflow, secret: str, is_replay_first: bool
) -> None:
    stripped = plain(secret, CONTENT)
    whole = standard(secret, CONTENT) | stripped

    calls = [stripped, whole] if is_replay_first else [whole, stripped]
    first, second = (post(COMPLETED, CONTENT, headers) for headers in calls)

    assert_duplicate(first, second)
    assert Event.objects.count() == 1


def test_two_ids_are_two_calls(workflow: Workflow, secret: str) -> None:
    for id_ in ("msg_1", "msg_2"):
        assert not post(COMPLETED, CONTENT, standard(secret, CONTENT, id_=id_)).json()["is_duplicate"]

    assert Receipt.objects.count() == Event.objects.count() == 2


def test_paths_and_senders_are_counted_apart(
    workflow: Workflow, tenant: Tenant, other_tenant: Tenant, secret: str
) -> None:
    theirs, ours = make_sender(other_tenant)[1], make_sender(tenant, "another")[1]

    answers = [send(path, CONTENT, key) for key in (secret, theirs, ours) for path in PATHS]

    assert not any(answer.json()["is_duplicate"] for answer in answers)
    assert len({answer.json()["receipt_id"] for answer in answers}) == 9


def test_a_replay_of_last_week_changes_nothing(tenant: Tenant, workflow: Workflow, secret: str) -> None:
    week_ago = timezone.now() - timedelta(days=7)
    send(NOTIFIED, CONTENT, secret)
    Receipt.objects.update(created_at=week_ago)
    before = list(Receipt.objects.values("pk", "state", "created_at", "applied_at"))
    Workflow.objects.update(notification_status="owed")  # as after a retry

    replay = send(NOTIFIED, CONTENT, secret)
    stale = post(NOTIFIED, CONTENT, standard(secret, CONTENT, at=week_ago.timestamp()))

    assert (replay.status_code, replay.json()["is_duplicate"]) == (200, True)
    assert stale.status_code == 401
    assert list(Receipt.objects.exclude(state="refused").values(*before[0])) == before
    workflow.refresh_from_db()
    assert workflow.notification_status == "owed"
    assert Event.objects.count() == 1


def test_calls_in_any_order_come_to_the_same(tenant: Tenant, secret: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        (NOTIFIED, {**CONTENT, "method": "push"}),
        (COMPLETED, {**CONTENT, "status": "completed"}),
        (NOTIFIED, {**CONTENT, "method": "mail"}),
    ]
    ends = []
    for order in (calls, calls[::-1], calls[1:] + calls[:1]):
        workflow = make_workflow(tenant, status="completed", **CONTENT)
        for path, content in order + order:
            assert send(path, content, secret).status_code == 200
        workflow.refresh_from_db()
        types = sorted(Event.objects.filter(workflow=workflow).values_list("type", flat=True))
        ends.append((workflow.status, workflow.notification_status, workflow.attempt, types))
        Receipt.objects.all().delete()
        workflow.delete()

    assert ends == [("completed", "told", 1, ["upstream_ended", "user_notified"])] * 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "form"), [(COMPLETED, plain), (NOTIFIED, plain), (NOTIFIED, standard), (MINIAPP, standard)]
)
def test_fifty_at_once_have_one_effect(path: str, form: Any) -> None:
    tenant = make_tenant()
    make_workflow(tenant, status="completed", **CONTENT)
    _, secret = make_sender(tenant)

    answers = at_once(50, lambda number: post(path, CONTENT, form(secret, CONTENT)))

    assert [answer.status_code for answer in answers] == [200] * 50
    assert len({answer.json()["receipt_id"] for answer in answers}) == 1
    assert {answer.json()["state"] for answer in answers} == {"applied"}
    assert sum(not answer.json()["is_duplicate"] for answer in answers) == 1
    assert Receipt.objects.get().duplicate_count == 49
    assert Event.objects.count() + Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_stripped_of_their_ids_and_all_at_once_they_have_one_effect() -> None:
    """Whoever listened in may send what was signed twice over at the same time, in the plain form alone."""
    tenant = make_tenant()
    make_workflow(tenant, status="completed", **CONTENT)
    _, secret = make_sender(tenant)

    def call(number: int) -> Any:
        content = {**CONTENT, "event": number // 8}
        stripped = plain(secret, content)
        whole = standard(secret, content, id_=f"msg_{number // 8}") | stripped
        return post(COMPLETED, content, [stripped, whole][number % 2])

    answers = at_once(64, call)

    assert {answer.status_code for answer in answers} == {200}
    assert Receipt.objects.count() == Event.objects.count() == 8
    assert sorted(Receipt.objects.values_list("duplicate_count", flat=True)) == [7] * 8


@pytest.mark.django_db(transaction=True)
def test_different_notices_at_once_tell_once() -> None:
    tenant = make_tenant()
    workflow = make_workflow(tenant, status="completed", **CONTENT)
    _, secret = make_sender(tenant)

    answers = at_once(24, lambda number: send(NOTIFIED, {**CONTENT, "n": number}, secret))

    states = sorted(answer.json()["state"] for answer in answers)
    assert states == ["applied"] + ["ignored"] * 23
    assert Event.objects.get().workflow == workflow


def at_once(count: int, call: Any) -> list[Any]:
    """Make `count` calls from eight threads, each of which gives its connection back."""

    def call_and_close(number: int) -> Any:
        try:
            return call(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(call_and_close, range(count)))


def refused_call(body: bytes = b"nonsense") -> Incoming:
    return Incoming(
        path=Receipt.Path.USER_NOTIFIED, body=body, size=len(body), headers={}, remote_address="203.0.113.7"
    )


def test_what_is_refused_is_kept_as_text_that_can_be_stored(db: None) -> None:
    post(NOTIFIED, b"a\0b\xff" + "ä".encode() + b"c" * 5_000)

    receipt = Receipt.objects.get()
    assert receipt.body == "a\ufffdb\ufffdä" + "c" * (2_048 - 6)
    assert (receipt.size, receipt.remote_address) == (5_006, "127.0.0.1")
    assert len(receipt.digest) == 64


def test_the_newest_refused_receipts_are_kept(tenant: Tenant, secret: str) -> None:
    taken = send(MINIAPP, CONTENT, secret).json()["receipt_id"]
    old = [
        Receipt(id=uuid7(), path="user_notified", state="refused", digest="", size=0, trace_id="0" * 32)
        for _ in range(REFUSED_KEPT + 5)
    ]
    Receipt.objects.bulk_create(old)

    new = [store_refusal(refused_call(), "signature_invalid").pk for _ in range(20)]

    refused = Receipt.objects.filter(state="refused")
    assert refused.count() == REFUSED_KEPT
    assert set(new) < set(refused.values_list("pk", flat=True))
    assert old[-1].pk in set(refused.values_list("pk", flat=True))
    assert old[24].pk not in set(refused.values_list("pk", flat=True))
    assert str(Receipt.objects.exclude(state="refused").get().pk) == taken


@pytest.mark.django_db(transaction=True)
def test_refusals_at_once_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "REFUSED_KEPT", 10)

    answers = at_once(80, lambda number: post(NOTIFIED, {"n": number}))
    last = post(NOTIFIED, CONTENT)

    assert {answer.status_code for answer in answers} == {401}
    assert Receipt.objects.count() == 10
    assert Receipt.objects.filter(trace_id=last["X-Trace-Id"]).exists()


def test_the_oldest_are_found_by_the_index_of_the_refused(db: None) -> None:
    Receipt.objects.bulk_create(
        Receipt(path="user_notified", state=state, digest="", size=0, trace_id="0" * 32, tenant_id=uuid7())
        for state in ["ignored"] * 700 + ["refused"] * 20
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE webhooks_receipt")
        old = Receipt.objects.filter(state=Receipt.State.REFUSED).order_by("-pk").values("pk")[10:11]
        plan = old.explain()

    assert "receipt_refused" in plan


def test_only_so_many_refusals_a_second_are_kept_by_a_process(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(receipts, "_allowance", Allowance(0))

    response = post(NOTIFIED, CONTENT)

    assert response.status_code == 401
    assert not Receipt.objects.exists()
    assert "a call of user_notified was refused and not kept: signature_invalid" in caplog.text


def test_an_allowance_is_given_anew_each_second() -> None:
    allowance = Allowance(2)

    given = [allowance.take(now) for now in (100.0, 100.5, 100.9, 101.0, 101.1, 101.2, 101.3, 102.0)]

    assert given == [True, True, False, True, True, False, False, True]


def test_what_is_signed_is_kept_as_it_was_read(tenant: Tenant, secret: str) -> None:
    content = {**CONTENT, "data": {"ä": [1, 2.5, None, True, "x" * 3_000]}}

    send(MINIAPP, content, secret)

    receipt = Receipt.objects.get()
    assert (receipt.body, receipt.size, receipt.tenant) == (content, len(encoded(content)), tenant)
    assert receipt.sender
    assert receipt.sender.name == "upstream"


def test_a_receipt_and_its_effect_stand_or_fall_together(workflow: Workflow, secret: str) -> None:
    with connection.cursor() as cursor:
        # As a full disk would refuse it.
        cursor.execute("ALTER TABLE jobs_event ADD CHECK (type <> 'user_notified')")

    with pytest.raises(Exception, match="jobs_event"):
        receipts.take_user_notice(call_of(workflow))

    assert not Receipt.objects.exists()
    workflow.refresh_from_db()
    assert workflow.notification_status == "none"


def call_of(workflow: Workflow) -> receipts.Call:
    body = encoded(CONTENT)
    incoming = Incoming(
        path=Receipt.Path.USER_NOTIFIED, body=body, size=len(body), headers={}, remote_address=""
    )
    (sender,) = workflow.tenant.senders.all()
    return receipts.Call(incoming=incoming, sender=sender, webhook_id="", content=dict(CONTENT))
