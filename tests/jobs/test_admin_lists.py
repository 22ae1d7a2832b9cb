"""What lists are filtered by, alone, negated and together, and what they say of what they can't take."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from attestations.models import Attestation, Submission
from jobs.admin.lists.qualifiers import Qualifier, escape, read_search, split
from jobs.ids import first_id_of
from jobs.models import Event, Job, StaffTenant, Tenant, Workflow
from tests.factories import (
    make_attestation,
    make_collection,
    make_event,
    make_job,
    make_operator,
    make_submission,
    make_superuser,
    make_workflow,
)

TRACE = "a" * 32


@pytest.fixture
def operator(db: None) -> Client:
    return client_of(make_superuser())


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def found(client: Client, model: type[Model] = Job, /, **query: Any) -> set[Any]:
    response = client.get(list_of(model), query)
    assert response.status_code == 200, response
    return {row.pk for row in response.context["cl"].result_list}


def said(client: Client, model: type[Model] = Job, /, **query: Any) -> str:
    """What the page says of a filter that it can't take; such a page shows no row."""
    response = client.get(list_of(model), query)
    assert response.status_code == 200
    assert list(response.context["cl"].result_list) == []
    (problem,) = response.context["cl"].problems
    assert "Nothing was looked for" in response.content.decode()
    return str(problem)


def keys(*rows: Model) -> set[Any]:
    return {row.pk for row in rows}


# --- Jobs -------------------------------------------------------------------------------------------


class TwoJobs:
    """One job that has all that filters ask for, one that has none of it."""

    def __init__(self, tenant: Tenant, other: Tenant) -> None:
        self.collection = make_collection(tenant, name="Portraits")
        self.workflow = make_workflow(
            tenant, workflow_id="gen-7", user_id="user-7", collection=self.collection, trace_id=TRACE
        )
        self.fingerprint = uuid.uuid4()
        self.one = make_job(
            tenant,
            service_required="artgen",
            status="failed",
            workflow=self.workflow,
            step_index=0,
            worker="gpu-7",
            trace_id=TRACE,
            actor_id="alice",
            status_category="incomplete",
            problem_type="timed_out",
            error_fingerprint=self.fingerprint,
            payload={"prompt": "a castle", "size": {"width": 1024}},
            result={"seed": 7},
        )
        self.other = make_job(other, kind="system.ping", status="completed", payload={"prompt": "a tower"})

    def values(self) -> dict[str, str]:
        return {
            "status": "failed",
            "kind": "system.pong",
            "service": "artgen",
            "tenant": "acme",
            "status_category": "incomplete",
            "problem_type": "timed_out",
            "payload": "prompt=a castle",
            "result": "seed=7",
            "trace": TRACE,
            "workflow": "gen-7",
            "user": "user-7",
            "collection": "Portraits",
            "worker": "gpu-7",
            "actor": "alice",
            "error": str(self.fingerprint),
        }


@pytest.fixture
def two(tenant: Tenant, other_tenant: Tenant) -> TwoJobs:
    return TwoJobs(tenant, other_tenant)


NAMES = [
    "status",
    "service",
    "tenant",
    "status_category",
    "problem_type",
    "payload",
    "result",
    "trace",
    "workflow",
    "user",
    "collection",
    "worker",
    "actor",
    "error",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_filter_finds_what_has_its_value_and_negated_all_else(
    operator: Client, two: TwoJobs, name: str
) -> None:
    value = two.values()[name]

    assert found(operator, **{name: value}) == keys(two.one)
    assert found(operator, **{f"{name}__not": value}) == keys(two.other)


@pytest.mark.parametrize("name", NAMES)
def test_filters_hold_together(operator: Client, two: TwoJobs, name: str) -> None:
    value = two.values()[name]

    assert found(operator, status="failed,completed", **{name: value} if name != "status" else {}) >= keys(
        two.one
    )
    assert found(operator, kind="system.ping", **{name: value}) == set()
    assert found(operator, q="gpu-", **{name: value}) == keys(two.one)


def test_a_kind_and_a_queue_are_of_in_house_jobs(operator: Client, two: TwoJobs) -> None:
    assert found(operator, kind="system.ping") == keys(two.other)
    assert found(operator, kind__not="system.ping") == keys(two.one)
    assert found(operator, queue="default") == keys(two.other)
    assert found(operator, queue__not="default") == keys(two.one)
    assert found(operator, kind="of-a-handler-long-gone") == set()


def test_several_values_are_any_of_them_and_negated_none(operator: Client, tenant: Tenant) -> None:
    jobs = {
        status: make_job(tenant, service_required="x", status=status)
        for status in ("queued", "running", "completed", "failed", "cancelled")
    }

    assert found(operator, status="failed,cancelled") == keys(jobs["failed"], jobs["cancelled"])
    assert found(operator, status="queued,running") == keys(jobs["queued"], jobs["running"])
    assert found(operator, status="queued,completed") == keys(jobs["queued"], jobs["completed"])
    assert found(operator, status__not="failed,cancelled,queued") == keys(jobs["running"], jobs["completed"])
    assert found(operator, status="failed,queued", status__not="failed") == keys(jobs["queued"])


@pytest.mark.parametrize("status", Job.Status.values)
def test_every_status_is_found_alone_and_left_out_alone(
    operator: Client, tenant: Tenant, status: str
) -> None:
    workflow = make_workflow(tenant)
    rows = {
        each: make_job(tenant, service_required="x", status=each, workflow=workflow, step_index=index)
        for index, each in enumerate(Job.Status.values)
    }
    in_house = make_job(tenant, status="queued")

    expected = keys(rows[status], in_house) if status == "queued" else keys(rows[status])
    assert found(operator, status=status) == expected
    assert found(operator, status__exact=status) == expected  # as addresses were before
    assert found(operator, status__not=status) == keys(*rows.values(), in_house) - expected


def test_the_platforms_own_jobs_are_told_from_tenants(
    operator: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    ours, theirs, platform = make_job(tenant), make_job(other_tenant), make_job()

    assert found(operator, tenant="-") == keys(platform)
    assert found(operator, tenant__not="-") == keys(ours, theirs)
    assert found(operator, tenant="acme,-") == keys(ours, platform)
    assert found(operator, tenant__not="acme") == keys(theirs, platform)


def test_times_are_windows_or_from_and_to(operator: Client, tenant: Tenant) -> None:
    now = timezone.now()
    old, day, new = [
        make_job(tenant, id=first_id_of(now - ago))
        for ago in (timedelta(days=3), timedelta(hours=5), timedelta(0))
    ]
    edge = now - timedelta(days=1)

    assert found(operator, created="hour") == keys(new)
    assert found(operator, created="day") == keys(day, new)
    assert found(operator, created__not="day") == keys(old)
    assert found(operator, **{"from": f"{edge:%Y-%m-%dT%H:%M:%SZ}"}) == keys(day, new)
    assert found(operator, to=f"{edge:%Y-%m-%dT%H:%M:%S}") == keys(old)
    assert found(operator, to=f"{edge:%Y-%m-%d}", **{"from": "2020-01-01"}) == keys(old)
    assert found(operator, **{"from": "2999-01-01"}) == set()


# --- What JSON holds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "asked", "is_found"),
    [
        ({"prompt": "castle"}, "prompt=castle", True),
        ({"prompt": "castle"}, "prompt=Castle", False),
        ({"prompt": "a, b=c"}, "prompt=a, b=c", True),
        ({"n": 42}, "n=42", True),
        ({"n": 42.0}, "n=42", True),
        ({"n": "42"}, "n=42", True),
        ({"n": 42}, "n=43", False),
        ({"n": 1e22}, "n=1e22", True),
        ({"yes": True}, "yes=true", True),
        ({"yes": "true"}, "yes=true", True),
        ({"yes": None}, "yes=null", True),
        ({"yes": None}, "yes", True),
        ({"no": 1}, "yes", False),
        ({"a": {"b": {"c": "deep"}}}, "a.b.c=deep", True),
        ({"a": {"b": {"c": "deep"}}}, "a.b", True),
        ({"a": ["x", {"y": 2}]}, "a.1.y=2", True),
        ({"a": ""}, "a=", True),
        ({"a__contains": "x"}, "a__contains=x", True),
        ({"ünï": "«»"}, "ünï=«»", True),
        ({"q": '"\\'}, 'q="\\', True),
        ({"a": {"b": 1}}, 'a={"b": 1}', False),
        (["list"], "0=list", True),
        ("text", "a=text", False),
        (7, "a", False),
    ],
)
def test_a_payload_is_looked_into(
    operator: Client, tenant: Tenant, payload: Any, asked: str, is_found: bool
) -> None:
    job = make_job(tenant, payload=payload)

    assert found(operator, payload=asked) == (keys(job) if is_found else set())
    assert found(operator, payload__not=asked) == (set() if is_found else keys(job))


def test_several_conditions_on_a_payload_all_hold(operator: Client, tenant: Tenant) -> None:
    both = make_job(tenant, payload={"a": 1, "b": 2})
    make_job(tenant, payload={"a": 1})
    neither = make_job(tenant, payload={})

    assert found(operator, payload=["a=1", "b=2"]) == keys(both)
    assert found(operator, payload__not=["a=1", "b=2"]) == keys(neither)


@pytest.mark.parametrize("asked", ["password=x", "auth.Api_Key=x", "my_token", "secret.a.b=1"])
def test_what_is_masked_is_not_looked_for(operator: Client, tenant: Tenant, asked: str) -> None:
    make_job(tenant, payload={"password": "x", "my_token": "y"})

    for name in ("payload", "payload__not", "result"):
        assert "is masked here" in said(operator, **{name: asked})


def test_a_workflow_is_found_by_what_it_was_started_with(operator: Client, tenant: Tenant) -> None:
    by_data = make_workflow(tenant, data={"variables": {"prompt": "castle"}})
    by_request = make_workflow(tenant, miniapp_req={"request_body": {"variables": {"prompt": "castle"}}})
    other = make_workflow(tenant, data={"variables": {"prompt": "tower"}})

    assert found(operator, Workflow, payload="prompt=castle") == keys(by_data, by_request)
    assert found(operator, Workflow, payload__not="prompt=castle") == keys(other)


# --- Other lists ------------------------------------------------------------------------------------


def test_workflows_are_filtered(operator: Client, tenant: Tenant, other_tenant: Tenant) -> None:
    collection = make_collection(tenant, name="Portraits")
    one = make_workflow(
        tenant,
        workflow_id="gen-7",
        collection=collection,
        status="failed",
        user_id="user-7",
        session_id="s-7",
        kind="submission",
        notification_status="owed",
        status_category="filed",
        problem_type="notification_missing",
        trace_id=TRACE,
    )
    other = make_workflow(other_tenant)
    values = {
        "status": "failed",
        "tenant": "acme",
        "user": "user-7",
        "session": "s-7",
        "workflow": "gen-7",
        "kind": "submission",
        "notification_status": "owed",
        "status_category": "filed",
        "problem_type": "notification_missing",
        "trace": TRACE,
        "collection": str(collection.pk),
    }

    for name, value in values.items():
        assert found(operator, Workflow, **{name: value}) == keys(one), name
        assert found(operator, Workflow, **{f"{name}__not": value}) == keys(other), name
    assert found(operator, Workflow, **values) == keys(one)


def test_attestations_submissions_and_events_are_filtered(
    operator: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    job = make_job(tenant, status="failed")
    elsewhere = make_job(other_tenant, status="completed")
    attestation, another = make_attestation(job), make_attestation(elsewhere)
    event, _ = make_event(job), make_event(elsewhere)
    submission, _ = make_submission(tenant), make_submission(other_tenant)

    assert found(operator, Attestation, job=str(job.pk)) == keys(attestation)
    assert found(operator, Attestation, job__not=str(job.pk)) == keys(another)
    assert found(operator, Attestation, tenant="acme") == keys(attestation)
    assert found(operator, Attestation, created="hour") == keys(attestation, another)
    assert found(operator, Attestation, created__not="hour") == set()
    assert found(operator, Event, job=str(job.pk), created="hour", type="log") == keys(event)
    assert found(operator, Event, type__not="log") == set()
    assert found(operator, Submission, tenant="acme", status="awaiting_review") == keys(submission)
    assert found(operator, Submission, hash=submission.sha256_hash.upper()) == keys(submission)


def test_times_of_rows_with_numbers_are_found_by_halving(operator: Client, tenant: Tenant) -> None:
    now = timezone.now()
    rows = []
    for days in (9, 8, 5, 2, 0):
        event = make_event(make_job(tenant))
        Event.objects.filter(pk=event.pk).update(created_at=now - timedelta(days=days))
        rows.append(event)
    Event.objects.filter(pk=rows[1].pk).delete()

    assert found(operator, Event, created="week") == keys(*rows[2:])
    assert found(operator, Event, to=f"{now - timedelta(days=4):%Y-%m-%dT%H:%M}") == keys(rows[0], rows[2])
    assert found(operator, Event, created="hour") == keys(rows[4])


# --- What can't be taken ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("status", "broken", "No status is called 'broken'"),
        ("status__not", "broken", "No status is called"),
        ("problem_type", "x", "No problem is called"),
        ("tenant", "nobody", "There is no tenant 'nobody'"),
        ("trace", "xyz", "A trace id has 32 hex digits"),
        ("error", "no-uuid", "Error takes UUIDs"),
        ("created", "yesterday", "Created takes hour, day or week"),
        ("from", "2026-13-45", "is no time"),
        ("to", "soon", "is no time"),
        ("from", "0001-01-01", "is no time"),
        ("payload", "=x", "names no key"),
        ("payload", "a..b=x", "names no key"),
        ("payload", ".".join("a" * 30), "names no key"),
        ("worker", "w" * 1_001, "1,000 characters at most"),
        ("worker", ",".join(map(str, range(60))), "takes 50 values"),
        ("before", "no-uuid", "is no place in this list"),
        ("after", "x" * 100, "is no place in this list"),
        ("q", "w" * 1_001, "A search has 1,000 characters at most"),
    ],
)
def test_what_a_filter_cant_take_it_says(
    operator: Client, tenant: Tenant, name: str, value: str, words: str
) -> None:
    make_job(tenant)

    assert words in said(operator, **{name: value})


def test_text_without_meaning_to_postgres_is_a_bad_request(operator: Client, db: None) -> None:
    for name in ("payload", "worker", "status", "from"):
        assert operator.get(list_of(Job), {name: "a\0b"}).status_code == 400, name


@pytest.mark.parametrize(
    "name", ["payload__password", "payload__no", "lease_token", "status__startswith", "tenant__slug"]
)
def test_an_address_filters_by_nothing_but_the_filters(operator: Client, db: None, name: str) -> None:
    assert operator.get(list_of(Job), {name: "x"}).status_code == 400


def test_an_event_has_no_place_beyond_numbers(operator: Client, db: None) -> None:
    assert "is no place" in said(operator, Event, before="9" * 5_000)
    assert "is no place" in said(operator, Event, after="1e3")
    assert found(operator, Event, before="9" * 30) == set()


# --- The search box ---------------------------------------------------------------------------------


WORDS = {"status": "status", "kind": "kind", "payload": "payload", "problem": "problem_type"}


@pytest.mark.parametrize(
    ("text", "qualifiers", "rest"),
    [
        ("status:failed", [("status", "failed")], ""),
        ("-kind:x  left  over", [("kind__not", "x")], "left over"),
        ('payload.a.b:"a castle"', [("payload", "a.b=a castle")], ""),
        ('-payload.a:"x, y" problem:stuck', [("payload__not", "a=x, y"), ("problem_type", "stuck")], ""),
        ('status:"a,b",c', [("status", r"a\,b,c")], ""),
        ("payload:seed", [("payload", "seed")], ""),
        ("worker-completion:job-1", [], "worker-completion:job-1"),
        ("kind.a:b", [], "kind.a:b"),
        ("status:", [], "status:"),
        ('say "hello  world"', [], 'say "hello  world"'),
        (' "', [], ' "'),
    ],
)
def test_qualifiers_are_taken_out_of_a_search(
    text: str, qualifiers: list[tuple[str, str]], rest: str
) -> None:
    found, left = read_search(text, WORDS, with_path=frozenset({"payload"}))

    assert (found, left) == ([Qualifier(*pair) for pair in qualifiers], rest)


@pytest.mark.parametrize("values", [["a"], ["a,b", "c\\"], ["\\,", "x"], ["«»"]])
def test_values_with_commas_come_back_as_they_were(values: list[str]) -> None:
    assert split(",".join(map(escape, values))) == values


def redirected(client: Client, query: Iterable[tuple[str, str]] | dict[str, Any]) -> dict[str, str]:
    response = client.get(list_of(Job), query)
    assert response.status_code == 302
    return dict(parse_qsl(urlsplit(response["Location"]).query))


def test_what_is_typed_becomes_an_address(operator: Client, two: TwoJobs) -> None:
    typed = 'gpu-7 status:failed,cancelled -kind:system.ping payload.prompt:"a castle" problem:timed_out'

    address = redirected(operator, {"q": typed, "status": "queued"})

    assert address == {
        "q": "gpu-7",
        "status": "queued,failed,cancelled",
        "kind__not": "system.ping",
        "payload": "prompt=a castle",
        "problem_type": "timed_out",
    }
    assert found(operator, **address) == keys(two.one)


def test_a_form_with_blanks_leads_to_a_tidy_address(operator: Client, db: None) -> None:
    assert redirected(operator, {"status": ["failed", "queued"], "kind": "", "q": " ", "from": ""}) == {
        "status": "failed,queued"
    }


# --- What the page shows of it ----------------------------------------------------------------------


def test_chips_tell_what_is_filtered_and_lead_to_less_and_to_the_contrary(
    operator: Client, two: TwoJobs
) -> None:
    query = {"status": "failed,queued", "payload__not": "a=1,2", "q": "gpu", "from": "2026-01-01"}

    chips = operator.get(list_of(Job), query).context["cl"].panel.chips

    told = {(chip.title, chip.text, chip.is_not) for chip in chips}
    assert told == {
        ("Search", "gpu", False),
        ("Status", "Failed", False),
        ("Status", "Queued", False),
        ("Payload", "a=1,2", True),
        ("Created", "from 2026-01-01", False),
    }
    by_text = {chip.text: chip for chip in chips}
    assert dict(parse_qsl(by_text["Failed"].without_url[1:])) == {**query, "status": "queued"}
    flipped = dict(parse_qsl(by_text["Failed"].flipped_url[1:]))
    assert flipped == {**query, "status": "queued", "status__not": "failed"}
    back = dict(parse_qsl(by_text["a=1,2"].flipped_url[1:]))
    assert back == {"status": "failed,queued", "payload": "a=1,2", "q": "gpu", "from": "2026-01-01"}
    assert "from" not in dict(parse_qsl(by_text["from 2026-01-01"].without_url[1:]))


def test_chips_of_old_addresses_lead_to_the_present_form(operator: Client, tenant: Tenant) -> None:
    (chip,) = operator.get(list_of(Job), {"status__exact": "failed"}).context["cl"].panel.chips

    assert (chip.without_url, chip.flipped_url) == ("?", "?status__not=failed")


def test_hostile_filters_are_escaped(operator: Client, tenant: Tenant) -> None:
    hostile = "'\"></a><script>alert(1)</script>"

    for query in ({"worker": hostile}, {"q": hostile}, {"payload": f"{hostile}=1"}, {"tenant": hostile}):
        html = operator.get(list_of(Job), query).content.decode()
        assert "<script>alert" not in html, query


def test_a_restricted_account_learns_of_no_other_tenant(tenant: Tenant, other_tenant: Tenant) -> None:
    user = make_operator("jobs.view_job", "jobs.view_workflow")
    StaffTenant.objects.create(user=user, tenant=tenant)
    client = client_of(user)
    ours = make_job(tenant, service_required="ours")
    theirs = make_job(other_tenant, service_required="theirs", trace_id=TRACE, worker="gpu-theirs")
    make_job()
    make_collection(
        other_tenant, steps=[{"name": "a", "service_required": "their-secret-service", "payload": {}}]
    )

    assert found(client) == keys(ours)
    assert found(client, tenant__not="acme") == set()
    assert said(client, tenant="globex") == said(client, tenant="no-such").replace("no-such", "globex")
    for query in ({"trace": TRACE}, {"q": str(theirs.pk)}, {"worker": "gpu-theirs"}, {"q": TRACE}):
        assert found(client, **query) == set(), query
    html = client.get(list_of(Job)).content.decode()
    assert "globex" not in html
    assert "their-secret-service" not in html
