"""What operators do in the admin: cancel, retry, make and revoke keys, edit collections and tenants."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.admin import bulk, verbs
from jobs.models import ApiKey, AuditEntry, Collection, Event, Job, Tenant
from jobs.tenancy.services import find_api_key
from tests.factories import (
    STEPS,
    make_collection,
    make_job,
    make_key,
    make_operator,
    make_superuser,
    make_workflow,
)
from tests.operations import came_to, ended_alone, operation_of

JOBS = reverse("admin:jobs_job_changelist")
KEYS = reverse("admin:jobs_apikey_changelist")
ADD_KEY = reverse("admin:jobs_apikey_add")
ADD_COLLECTION = reverse("admin:jobs_collection_add")


@pytest.fixture
def operator(db: None) -> Client:
    """May look at jobs and operate on them, and nothing else."""
    return client_of(make_operator("jobs.view_job", "jobs.change_job", name="alice"))


@pytest.fixture
def superuser(db: None) -> Client:
    return client_of(make_superuser("root"))


def client_of(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, action: str, *rows: Job | ApiKey, url: str = JOBS, **fields: str) -> Any:
    posted = {"action": action, "_selected_action": [str(row.pk) for row in rows], **fields}
    return client.post(url, posted)


def told(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


# --- Cancel -----------------------------------------------------------------------------------------


def test_cancelling_asks_first(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant)

    response = act(operator, "cancel_jobs", job)

    job.refresh_from_db()
    assert job.status == Job.Status.QUEUED
    assert "Cancel 1 job?" in response.content.decode()
    assert f'name="_selected_action" value="{job.pk}"' in response.content.decode()


def test_cancelling_tells_what_was_done_and_what_refused(operator: Client, tenant: Tenant) -> None:
    queued, running = make_job(tenant), make_job(tenant, status="running")
    done = make_job(tenant, status="completed")

    operation = ended_alone(act(operator, "cancel_jobs", queued, running, done, confirmed="1"))

    for job in (queued, running, done):
        job.refresh_from_db()
    assert (queued.status, running.status, done.status) == ("cancelled", "running", "completed")
    assert running.cancel_requested_at is not None
    assert came_to(operation) == (
        {"asked to stop at its next checkpoint": 1, "cancelled": 1},
        {"The job is completed; only a job that has not ended is cancelled.": 1},
    )
    assert Event.objects.get(job=queued).data == {"by": "alice"}


def test_a_remote_worker_is_asked_to_stop(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant, service_required="artgen", status="running")

    asked = act(operator, "cancel_jobs", job)
    response = act(operator, "cancel_jobs", job, confirmed="1", from_page="1")

    assert "a remote worker hears it with its next word" in asked.content.decode()
    assert told(response) == ["1 job asked to stop."]


def test_cancelling_from_a_jobs_page_leads_back_to_it(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant)
    page = reverse("admin:jobs_job_change", args=[job.pk])
    assert 'value="cancel_jobs"' in operator.get(page).content.decode()

    asked = act(operator, "cancel_jobs", job, from_page="1")
    response = act(operator, "cancel_jobs", job, from_page="1", confirmed="1")

    assert 'name="from_page" value="1"' in asked.content.decode()
    assert response["Location"] == page
    html = operator.get(page).content.decode()
    assert "1 job cancelled." in html
    assert 'value="cancel_jobs"' not in html
    assert 'value="retry_jobs"' in html


def test_what_is_done_from_a_page_is_audited_with_what_changed(operator: Client, tenant: Tenant) -> None:
    job, done = make_job(tenant), make_job(tenant, status="completed")

    act(operator, "cancel_jobs", job, from_page="1", confirmed="1", reason="Too dear.")
    response = act(operator, "cancel_jobs", done, from_page="1", confirmed="1")

    cancelled, refused = AuditEntry.objects.filter(action="cancel").order_by("id")
    assert (cancelled.actor, cancelled.object_id, cancelled.reason) == ("alice", str(job.pk), "Too dear.")
    assert (cancelled.before, cancelled.after) == ({"status": "queued"}, {"status": "cancelled"})
    assert (cancelled.outcome, cancelled.is_refused, cancelled.operation_id) == ("cancelled", False, None)
    assert (refused.object_id, refused.is_refused, refused.after) == (str(done.pk), True, None)
    assert told(response)[-1] == f"1 job refused: {refused.outcome}"
    assert [entry.object_id for entry in LogEntry.objects.all()] == [str(job.pk)]


def test_several_are_never_done_at_once(operator: Client, tenant: Tenant) -> None:
    jobs = [make_job(tenant) for _ in range(2)]

    response = act(operator, "cancel_jobs", *jobs, from_page="1", confirmed="1")

    assert operation_of(response).total_count == 2
    assert Job.objects.filter(status="cancelled").count() == 0


# --- Retry ------------------------------------------------------------------------------------------


def test_retrying_keeps_the_reason(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant, status="failed", attempt=3)

    asked = act(operator, "retry_jobs", job)
    response = act(operator, "retry_jobs", job, confirmed="1", from_page="1", reason="The GPU is back.")

    job.refresh_from_db()
    assert 'name="reason"' in asked.content.decode()
    assert (job.status, job.attempt, job.max_attempts) == ("queued", 3, 4)
    assert told(response) == ["1 job queued again."]
    assert Event.objects.get(job=job).data == {"by": "alice", "reason": "The GPU is back."}


def test_a_reason_that_the_database_would_not_keep_is_mended(operator: Client, tenant: Tenant) -> None:
    job = make_job(tenant, status="failed", attempt=3)

    response = act(operator, "retry_jobs", job, confirmed="1", from_page="1", reason="The\0GPU is back.")

    assert told(response) == ["1 job queued again."]
    assert Event.objects.get(job=job).data["reason"] == "The\ufffdGPU is back."
    assert LogEntry.objects.get().change_message.endswith("The\ufffdGPU is back.")


def test_a_job_that_is_deleted_meanwhile_is_counted_as_refused(
    operator: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, kept = make_job(tenant, status="failed"), make_job(tenant, status="failed")
    do = verbs.perform

    def perform_late(verb: Any, record: Any, **options: Any) -> Any:
        """Between the list and the verb somebody deletes one of them."""
        Job.objects.filter(pk=gone.pk).delete()
        return do(verb, record, **options)

    monkeypatch.setattr(bulk, "perform", perform_late)

    operation = ended_alone(act(operator, "retry_jobs", gone, kept, confirmed="1"))

    assert came_to(operation) == ({"queued again": 1}, {"No longer among those this list shows.": 1})


def test_retrying_tells_why_it_is_refused(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(tenant, status="cancelled")
    closed = make_job(tenant, status="cancelled", workflow=workflow, step_index=0)
    done, failed = make_job(tenant, status="completed"), make_job(tenant, status="failed")

    operation = ended_alone(act(operator, "retry_jobs", closed, done, failed, confirmed="1"))

    assert came_to(operation) == (
        {"queued again": 1},
        {
            "The job is completed; only a failed or cancelled job is retried.": 1,
            "The job's workflow has not failed, so its job can't run again.": 1,
        },
    )


def test_a_viewer_is_not_shown_the_verbs(tenant: Tenant) -> None:
    client = client_of(make_operator("jobs.view_job"))
    job = make_job(tenant, status="failed")

    html = client.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()

    assert "retry_jobs" not in html


# --- API keys ---------------------------------------------------------------------------------------


def make_key_by_form(client: Client, tenant: Tenant, **fields: Any) -> Any:
    posted = {"tenant": str(tenant.pk), "name": "fleet", "scopes": ["work", "read"], **fields}
    return client.post(ADD_KEY, posted)


def test_a_new_key_is_shown_once(superuser: Client, tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        response = make_key_by_form(superuser, tenant)

    key = ApiKey.objects.get()
    text = str(response.context["key_text"])
    assert (key.name, key.scopes, key.tenant) == ("fleet", ["work", "read"], tenant)
    assert find_api_key(text) == key
    assert response.content.decode().count(f"<code>{text}</code>") == 1
    assert "no-store" in response["Cache-Control"]
    after = [reverse("admin:jobs_apikey_change", args=[key.pk]), KEYS, reverse("admin:index")]
    after.append(reverse("admin:jobs_apikey_history", args=[key.pk]))
    for url in after:
        html = superuser.get(url).content.decode()
        assert text not in html
        assert key.digest not in html
    assert not [session for session in Session.objects.all() if text in json.dumps(session.get_decoded())]
    assert text not in caplog.text
    assert not [entry for entry in LogEntry.objects.all() if text in entry.object_repr + entry.change_message]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"scopes": []}, "This field is required."),
        (
            {"scopes": ["everything"]},
            "Select a valid choice. everything is not one of the available choices.",
        ),
        ({"name": ""}, "This field is required."),
        (
            {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
            "This is past: the key would open nothing.",
        ),
    ],
)
def test_a_wrong_key_is_refused(
    superuser: Client, tenant: Tenant, fields: dict[str, Any], problem: str
) -> None:
    response = make_key_by_form(superuser, tenant, **fields)

    (messages,) = response.context["adminform"].form.errors.values()
    assert messages == [problem]
    assert not ApiKey.objects.exists()


def test_the_list_says_whether_a_key_opens_anything(
    superuser: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    make_key(tenant)
    make_key(tenant, expires_at=timezone.now() - timedelta(hours=1))
    ApiKey.objects.filter(pk=make_key(tenant)[0].pk).update(revoked_at=timezone.now())
    make_key(other_tenant)
    Tenant.objects.filter(pk=other_tenant.pk).update(is_active=False)

    html = superuser.get(KEYS).content.decode()

    for word in ("usable", "expired", "revoked", "tenant inactive"):
        assert f"</span>{word}</span>" in html


def test_revoking_asks_first_and_tells_what_was_done(superuser: Client, tenant: Tenant) -> None:
    (key, text), (gone, _) = make_key(tenant), make_key(tenant)
    ApiKey.objects.filter(pk=gone.pk).update(revoked_at=timezone.now())

    asked = act(superuser, "revoke_keys", key, gone, url=KEYS)
    assert find_api_key(text) == key
    response = act(superuser, "revoke_keys", key, gone, url=KEYS, confirmed="1")

    assert "Revoke 2 keys?" in asked.content.decode()
    assert find_api_key(text) is None
    assert told(response) == ["1 key revoked.", "1 key refused: revoked before."]


def test_adding_keys_and_revoking_them_are_two_rights(tenant: Tenant) -> None:
    adder = client_of(make_operator("jobs.add_apikey", "jobs.view_apikey"))
    revoker = client_of(make_operator("jobs.change_apikey"))
    key, _ = make_key(tenant)

    act(adder, "revoke_keys", key, url=KEYS, confirmed="1")
    key.refresh_from_db()
    assert key.revoked_at is None
    assert revoker.get(ADD_KEY).status_code == 403
    act(revoker, "revoke_keys", key, url=KEYS, confirmed="1")

    key.refresh_from_db()
    assert key.revoked_at is not None


# --- Collections ------------------------------------------------------------------------------------


def add_collection(client: Client, tenant: Tenant, steps: Any, name: str = "Posters") -> Any:
    text = steps if isinstance(steps, str) else json.dumps(steps)
    return client.post(ADD_COLLECTION, {"tenant": str(tenant.pk), "name": name, "steps": text})


def test_a_collection_is_added_as_the_api_would_store_it(superuser: Client, tenant: Tenant) -> None:
    response = add_collection(superuser, tenant, [{"name": "paint", "service_required": "artgen"}])

    assert response.status_code == 302
    collection = Collection.objects.get()
    assert collection.steps == [{"name": "paint", "service_required": "artgen", "payload": {}}]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ("", "This field is required."),
        ("{", "The body is not JSON"),
        ("[" * 100_000, "nested 64 levels"),
        ('[{"name": "a", "service_required": "b", "payload": {"x": NaN}}]', "NaN is no JSON number"),
        ('[{"name": "a", "service_required": "b", "payload": {"x": "\\u0000"}}]', "no NUL"),
        ("[]", "This field is required."),
        ({"name": "a"}, "/steps "),
        ([{"name": "a"}], "/steps/0/service_required This field is required."),
        ([{"name": "a", "service_required": "b", "colour": 1}], "There is no field &#x27;colour&#x27; here."),
        ([STEPS[0], STEPS[0]], "/steps/1/name Another step has this name."),
        ([STEPS[1]], "/steps/0/payload Nothing can fill in ${steps.paint.result.url}"),
    ],
)
def test_a_wrong_recipe_is_refused_in_the_words_of_the_api(
    superuser: Client, tenant: Tenant, steps: Any, problem: str
) -> None:
    response = add_collection(superuser, tenant, steps)

    assert response.status_code == 200
    assert problem in response.content.decode()
    assert not Collection.objects.exists()


def test_a_taken_name_is_refused_even_on_change(superuser: Client, tenant: Tenant) -> None:
    make_collection(tenant, name="Posters")
    other = make_collection(tenant, name="Portraits")
    url = reverse("admin:jobs_collection_change", args=[other.pk])

    response = superuser.post(url, {"name": "Posters", "steps": json.dumps(STEPS)})

    assert response.status_code == 200
    assert "already exists" in response.content.decode()


def test_a_collection_is_changed_and_stays_its_tenants(
    superuser: Client, tenant: Tenant, other_tenant: Tenant
) -> None:
    collection = make_collection(tenant)
    url = reverse("admin:jobs_collection_change", args=[collection.pk])

    posted = {"tenant": str(other_tenant.pk), "name": "Renamed", "steps": json.dumps(STEPS[:1])}
    response = superuser.post(url, posted)

    collection.refresh_from_db()
    assert response.status_code == 302
    assert (collection.name, collection.tenant, len(collection.steps)) == ("Renamed", tenant, 1)


# --- Tenants ----------------------------------------------------------------------------------------


def test_a_tenant_is_added_and_its_slug_stays(superuser: Client, db: None) -> None:
    superuser.post(reverse("admin:jobs_tenant_add"), {"slug": "acme", "name": ""})
    tenant = Tenant.objects.get()
    assert (tenant.slug, tenant.name) == ("acme", "acme")

    superuser.post(
        reverse("admin:jobs_tenant_change", args=[tenant.pk]), {"slug": "other", "name": "Acme Print Works"}
    )

    tenant.refresh_from_db()
    assert (tenant.slug, tenant.name, tenant.is_active) == ("acme", "Acme Print Works", False)


def test_a_malformed_or_taken_slug_is_refused(superuser: Client, tenant: Tenant) -> None:
    for slug in ("Not a slug", tenant.slug, ""):
        response = superuser.post(reverse("admin:jobs_tenant_add"), {"slug": slug})

        assert response.context["adminform"].form.errors["slug"], slug
    assert Tenant.objects.count() == 1
